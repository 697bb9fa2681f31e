"""Scores drawn over the image they belong to."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from tao_anomaly.structures import AnomalyScores, AnomalyState, ImageArray
from tao_anomaly.visualization.colours import STATE_BGR, text_on
from tao_anomaly.visualization.history import STRIP, SceneHistory

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WIDTH = 640  # small images are enlarged to about this width, or text covers the objects
_BAR = 4  # pixels
_STRIP_HEIGHT = 44
_STRIP_RANGE = 1.6  # thresholds that the strip is high
_LINES = 3  # running events named at once


def draw_overlay(
    image: ImageArray,
    scores: AnomalyScores,
    class_names: Mapping[int, str],
    history: SceneHistory | None = None,
) -> ImageArray:
    """Return a new ``(H, W, 3)`` BGR image with a box, an id and a score bar for each object.

    Anomalous objects are drawn last, with class, score and leading cue. history, which has taken in
    `scores` already, adds trails, the running events and the strip of frame scores. A small image
    is enlarged by the whole factor that brings its width nearest to 640 px.
    """
    canvas = _Canvas(image, scores)
    for row in np.argsort(scores.states == AnomalyState.ANOMALOUS, kind="stable"):
        trail = history.trail(scores.tracks.ids[row]) if history else []
        canvas.draw_object(int(row), trail, class_names)
    canvas.draw_summary()
    if history:
        canvas.draw_strip(history)
        canvas.draw_events(history, class_names)
    return canvas.pixels


def track_number(track_id: str) -> str:
    """Return a track's number without its epoch, which all tracks of one image share."""
    return track_id.rpartition("-")[2]


def object_label(scores: AnomalyScores, row: int, class_names: Mapping[int, str]) -> list[str]:
    """Return what is written of an object: id and class; of an anomaly also score and cue."""
    class_id = int(scores.tracks.class_ids[row])
    name = f"{track_number(scores.tracks.ids[row])} {class_names.get(class_id, class_id)}"
    if scores.states[row] != AnomalyState.ANOMALOUS:
        return [name]
    return [f"{name} {scores.scores[row]:.1f}", scores.cues[row]]


def threshold_share(score: float, threshold: float) -> float:
    """Return how much of the threshold a score reaches, 0 to 1; 0 where there is no score."""
    return min(max(score / threshold, 0.0), 1.0) if threshold > 0 and score > 0 else 0.0


class _Canvas:
    """An enlarged copy of an image, and what is drawn on it."""

    def __init__(self, image: ImageArray, scores: AnomalyScores) -> None:
        self.factor = max(1, round(_WIDTH / image.shape[1]))
        self.scores = scores
        pixels = (
            cv2.resize(image, None, fx=self.factor, fy=self.factor, interpolation=cv2.INTER_CUBIC)
            if self.factor > 1
            else image.copy()
        )
        self.pixels = np.ascontiguousarray(pixels, np.uint8)
        self.scale = 0.45 * min(max(self.pixels.shape[1] / 1000, 1.0), 3.0)  # of the font
        self.line = round(1.3 * cv2.getTextSize("Ag", _FONT, self.scale, 1)[0][1]) + 6

    def draw_object(
        self, row: int, trail: list[tuple[float, float]], class_names: Mapping[int, str]
    ) -> None:
        scores = self.scores
        state = AnomalyState(int(scores.states[row]))
        anomalous = state == AnomalyState.ANOMALOUS
        x1, y1, x2, y2 = (round(float(side) * self.factor) for side in scores.tracks.boxes[row])
        if len(trail) > 1:
            points = np.round(np.array(trail) * self.factor).astype(np.int32)
            cv2.polylines(self.pixels, [points], False, STATE_BGR[state], 2, cv2.LINE_AA)
        width = 2 if anomalous else 1
        cv2.rectangle(self.pixels, (x1, y1), (x2, y2), STATE_BGR[state], width, cv2.LINE_AA)
        if np.isfinite(scores.scores[row]):
            self._draw_bar((x1, y1, x2), float(scores.scores[row]), state)
        lines = object_label(scores, row, class_names)
        if anomalous or self._width(lines[0]) <= x2 - x1:
            self.label(lines, (x1, y1 - _BAR), state)
        elif self._width(number := track_number(scores.tracks.ids[row])) <= x2 - x1:
            self.label([number], (x1, y1 - _BAR), state)

    def _draw_bar(self, place: tuple[int, int, int], score: float, state: AnomalyState) -> None:
        """Draw along the upper edge how much of the threshold a score reaches."""
        x1, y1, x2 = place
        end = x1 + round((x2 - x1) * threshold_share(score, self.scores.threshold))
        cv2.rectangle(self.pixels, (x1, y1 - _BAR), (x2, y1 - 1), (40, 40, 40), -1)
        if end > x1:
            cv2.rectangle(self.pixels, (x1, y1 - _BAR), (end, y1 - 1), STATE_BGR[state], -1)

    def label(self, lines: list[str], corner: tuple[int, int], state: AnomalyState) -> None:
        """Draw lines of text above a corner, moved into the image."""
        lines = [text for text in lines if text]
        width = max(map(self._width, lines))
        x = min(max(corner[0], 0), max(0, self.pixels.shape[1] - width))
        top = max(corner[1] - self.line * len(lines), 0)
        bottom = top + self.line * len(lines)
        cv2.rectangle(self.pixels, (x, top), (x + width, bottom), STATE_BGR[state], -1)
        for i, text in enumerate(lines, 1):
            place = x + 3, top + self.line * i - round(self.line * 0.3)
            colour = text_on(state)
            cv2.putText(self.pixels, text, place, _FONT, self.scale, colour, 1, cv2.LINE_AA)

    def _width(self, text: str) -> int:
        return cv2.getTextSize(text, _FONT, self.scale, 1)[0][0] + 6

    def draw_summary(self) -> None:
        scores = self.scores
        anomalous = int((scores.states == AnomalyState.ANOMALOUS).sum())
        highest = "-" if np.isnan(scores.frame_score) else f"{scores.frame_score:.2f}"
        text = (
            f"{len(scores.tracks)} tracks  {anomalous} anomalous"
            f"  score {highest} / {scores.threshold:.2f}"
        )
        state = AnomalyState.ANOMALOUS if anomalous else AnomalyState.NORMAL
        self.label([text], (4, 0), state)

    def draw_strip(self, history: SceneHistory) -> None:
        """Draw the frame scores of the last seconds along the lower edge, now at the right."""
        height = round(_STRIP_HEIGHT * self.scale / 0.45)
        rows, columns = self.pixels.shape[:2]
        strip = self.pixels[max(0, rows - height) :]
        cv2.addWeighted(strip, 0.35, np.zeros_like(strip), 0.65, 0, dst=strip)
        height = len(strip)
        threshold = self.scores.threshold
        unit = height / _STRIP_RANGE / threshold if threshold > 0 else 0.0
        level = height - 1 - round(threshold * unit)
        cv2.line(strip, (0, level), (columns, level), (200, 200, 200), 1)
        for run, above in _runs(history.strip, threshold):
            x = (1 + run[:, 0] / STRIP) * (columns - 1)
            y = np.clip(height - 1 - run[:, 1] * unit, 0, height - 1)
            points = np.round(np.stack([x, y], axis=1)).astype(np.int32)
            state = AnomalyState.ANOMALOUS if above else AnomalyState.NORMAL
            colour = STATE_BGR[state] if above else (233, 180, 86)  # their sky blue, on black
            cv2.polylines(strip, [points], False, colour, 2, cv2.LINE_AA)
        text = f"frame score, last {STRIP:.0f} s"
        place, size = (4, round(self.line * 0.6)), 0.8 * self.scale
        cv2.putText(strip, text, place, _FONT, size, (200, 200, 200), 1, cv2.LINE_AA)

    def draw_events(self, history: SceneHistory, class_names: Mapping[int, str]) -> None:
        """Draw a banner that names the running events."""
        running = history.events
        if not running:
            return
        lines = [
            f"EVENT {track_number(event.track_id)}"
            f" {class_names.get(event.class_id, event.class_id)}"
            f"  {age:.1f} s  peak {event.peak_score:.1f}"
            for event, age in running[-_LINES:]
        ]
        if len(running) > _LINES:
            lines.insert(0, f"{len(running)} events, the latest:")
        self.label(lines, (4, self.line * (len(lines) + 1) + 4), AnomalyState.ANOMALOUS)


def _runs(strip: list[tuple[float, float]], threshold: float) -> list[tuple[np.ndarray, bool]]:
    """Return polylines ``(P, 2)`` of time and score, cut at gaps and where they cross.

    A piece from or to a score at the threshold or above counts as above (True).
    """
    points = np.array(strip, np.float64).reshape(-1, 2)
    scores = points[:, 1]
    high = scores >= threshold
    above = high[1:] | high[:-1]
    known = ~np.isnan(scores[1:] + scores[:-1])
    kind = np.where(known, above, -1)  # of each piece between two points
    cuts = np.flatnonzero(np.diff(kind)) + 1
    pieces = np.split(np.arange(len(kind)), cuts)
    return [
        (points[run[0] : run[-1] + 2], bool(above[run[0]]))
        for run in pieces
        if len(run) and known[run[0]]
    ]
