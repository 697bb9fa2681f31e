"""The scored boxes of one clip, whoever made them: what every metric and file is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from tao_anomaly.metrics.regions import ScoredBoxes, metric_boxes
from tao_anomaly.metrics.text_formats import read_scored_boxes
from tao_anomaly.structures import AnomalyScores, AnomalyState, BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class ScoredClip:
    """Boxes of one clip with a score.

    raised ``(N,)``: True where the box is an alarm at the calibrated threshold; None where there is
    no threshold. images: all that the scorer said, by number of the image, where it is known.
    """

    detections: ScoredBoxes
    raised: BoolArray | None = None
    images: Mapping[int, AnomalyScores] = field(default_factory=dict)

    def frame_scores(self, frame_count: int) -> np.ndarray:
        """Return the highest score of each frame, ``(frame_count,)``, -inf where there is none."""
        highest = np.full(frame_count, -np.inf)
        np.maximum.at(highest, self.detections.frames, self.detections.scores)
        return highest


def clip_of_boxes(
    frames: IntArray,
    boxes: FloatArray,
    scores: np.ndarray,
    *,
    track_ids: Sequence[str] | None = None,
    raised: BoolArray | None = None,
) -> ScoredClip:
    """Return the scored clip of boxes ``(N, 4)`` in pixels by their outer edges.

    Boxes whose score is NaN were not scored: they are no detections and left out.
    """
    kept = np.flatnonzero(~np.isnan(scores))
    ids = None if track_ids is None else np.array(track_ids, np.str_).reshape(-1)[kept]
    detections = ScoredBoxes(
        np.asarray(frames)[kept], metric_boxes(boxes[kept]), np.asarray(scores)[kept], ids
    )
    return ScoredClip(detections, None if raised is None else raised[kept])


def clip_of_scores(frames: IntArray, images: Sequence[AnomalyScores]) -> ScoredClip:
    """Return what a scorer said of a clip; frames ``(F,)``: number of each image of `images`."""
    counts = [len(image.tracks) for image in images]
    clip = clip_of_boxes(
        np.repeat(frames, counts),
        _stack([image.tracks.boxes for image in images], (0, 4)),
        _stack([image.scores for image in images], (0,)),
        track_ids=[track_id for image in images for track_id in image.tracks.ids],
        raised=_stack([image.states for image in images], (0,)) == AnomalyState.ANOMALOUS,
    )
    return replace(clip, images=dict(zip(frames.tolist(), images, strict=True)))


def smoothed_offline(
    frames: IntArray, images: Sequence[AnomalyScores], *, seconds: float, rate: float
) -> ScoredClip:
    """Return the clip with raw scores smoothed along each track by a Gaussian: past and future.

    seconds: its standard deviation. rate: frames a second. Not causal, so no detector that runs
    could have said this; it has no operating point.
    """
    counts = [len(image.tracks) for image in images]
    raw = _stack([image.raw for image in images], (0,)).astype(np.float64)
    ids = np.array([i for image in images for i in image.tracks.ids], np.str_)
    for track_id in np.unique(ids[~np.isnan(raw)]):
        rows = np.flatnonzero((ids == track_id) & ~np.isnan(raw))
        raw[rows] = gaussian_filter1d(raw[rows], seconds * rate, mode="nearest")
    return clip_of_boxes(
        np.repeat(frames, counts),
        _stack([image.tracks.boxes for image in images], (0, 4)),
        raw,
        track_ids=ids.tolist(),
    )


def read_clips(
    folder: Path, lengths: dict[str, int], *, others: bool, threshold: float | None
) -> dict[str, ScoredClip]:
    """Read AED text files ``<clip>.txt`` of predictions; a clip without a file has no detection.

    lengths: frames of each clip. others: whether files of other clips may be there. Raises
    ValueError, with file and line, for a malformed row, a frame beyond the clip, a file that is no
    clip's, and a folder without a file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected <clip>.txt, frame,x1,y1,x2,y2,score")
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    unknown = [] if others else sorted(files.keys() - lengths.keys())
    if unknown or not files:
        known = ", ".join(sorted(lengths))
        raise ValueError(
            f"{folder}: got {', '.join(unknown) or 'no .txt file'}, expected one file a test clip,"
            f" named like it: {known}"
        )
    clips = {}
    for name, length in lengths.items():
        boxes = (
            read_scored_boxes(files[name], clip_length=length)
            if name in files
            else ScoredBoxes.empty()
        )
        clips[name] = ScoredClip(boxes, None if threshold is None else boxes.scores >= threshold)
    return clips


def _stack(parts: Iterable[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    """Return the parts below each other; `empty` is the shape where there is none."""
    return np.concatenate([np.zeros(empty, np.float32), *parts])
