"""Scores drawn over the image they belong to."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from tao_anomaly.structures import AnomalyScores, AnomalyState, ImageArray

# BGR of Okabe and Ito's palette, which colour-blind people can tell apart.
STATE_COLOURS = {
    AnomalyState.WARMUP: (150, 150, 150),
    AnomalyState.NORMAL: (178, 114, 0),
    AnomalyState.ANOMALOUS: (0, 94, 213),
    AnomalyState.INVALID: (66, 228, 240),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = (255, 255, 255)
_WIDTH = 640  # small images are enlarged to about this width, or text covers the objects


def draw_overlay(
    image: ImageArray, scores: AnomalyScores, class_names: Mapping[int, str]
) -> ImageArray:
    """Return a new ``(H, W, 3)`` BGR image with a box, an id and a score for each object.

    A small image is enlarged by the whole factor that brings its width nearest to 640 px. Anomalous
    objects are drawn last.
    """
    factor = max(1, round(_WIDTH / image.shape[1]))
    canvas = (
        cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        if factor > 1
        else image.copy()
    )
    canvas = np.ascontiguousarray(canvas, np.uint8)
    for row in np.argsort(scores.states == AnomalyState.ANOMALOUS, kind="stable"):
        _draw_object(canvas, scores, int(row), factor, class_names)
    _draw_banner(canvas, scores)
    return canvas


def _draw_object(
    canvas: ImageArray,
    scores: AnomalyScores,
    row: int,
    factor: int,
    class_names: Mapping[int, str],
) -> None:
    state = AnomalyState(int(scores.states[row]))
    colour = STATE_COLOURS[state]
    x1, y1, x2, y2 = (round(float(side) * factor) for side in scores.tracks.boxes[row])
    anomalous = state == AnomalyState.ANOMALOUS
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2 if anomalous else 1, cv2.LINE_AA)
    if anomalous:
        class_id = int(scores.tracks.class_ids[row])
        name = class_names.get(class_id, str(class_id))
        text = f"{scores.tracks.ids[row]} {name} {scores.scores[row]:.1f} {scores.leading[row]}"
        _draw_label(canvas, text, (x1, y1), colour)
    elif np.isfinite(scores.scores[row]):
        _draw_bar(canvas, (x1, y1, x2), float(scores.scores[row]), scores.threshold, colour)


def _draw_bar(
    canvas: ImageArray,
    place: tuple[int, int, int],
    score: float,
    threshold: float,
    colour: tuple[int, int, int],
) -> None:
    """Draw how much of the threshold a normal object's score reaches, along its upper edge."""
    x1, y1, x2 = place
    share = np.clip(score / threshold, 0, 1) if threshold > 0 else 0.0
    cv2.rectangle(canvas, (x1, y1 - 3), (x1 + round((x2 - x1) * float(share)), y1), colour, -1)


def _draw_label(
    canvas: ImageArray, text: str, corner: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    (width, height), base = cv2.getTextSize(text, _FONT, 0.45, 1)
    x = min(max(corner[0], 0), max(0, canvas.shape[1] - width - 4))
    y = max(corner[1], height + base + 2)
    cv2.rectangle(canvas, (x, y - height - base - 2), (x + width + 4, y), colour, -1)
    cv2.putText(canvas, text, (x + 2, y - base), _FONT, 0.45, _TEXT, 1, cv2.LINE_AA)


def _draw_banner(canvas: ImageArray, scores: AnomalyScores) -> None:
    anomalous = int((scores.states == AnomalyState.ANOMALOUS).sum())
    highest = "-" if np.isnan(scores.frame_score) else f"{scores.frame_score:.2f}"
    text = (
        f"{len(scores.tracks)} tracks  {anomalous} anomalous"
        f"  score {highest} / {scores.threshold:.2f}"
    )
    state = AnomalyState.ANOMALOUS if anomalous else AnomalyState.NORMAL
    _draw_label(canvas, text, (4, 0), STATE_COLOURS[state])
