"""Ground-truth regions and scored boxes of one video: their rules, and which of them overlap.

Rows come from labels and from other people's predictions, so the rules live here, once, and hold
for arrays and for text files alike (`text_formats` adds file and line):

* a frame number is a whole number from 0 (``12.0`` is one), and below the clip length if given;
* box coordinates are finite and inclusive pixels, ``x1 <= x2`` and ``y1 <= y2``: a box of one pixel
  has ``x1 == x2``. A box (partly) outside the image is kept: the image size is unknown here;
* scores are finite: neither NaN nor infinite;
* a track has at most one region a frame. Track ids are per video: 0 in two videos is two tracks;
* rows may come in any order, and there may be none. Detections may repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LARGEST_NUMBER = 2**31 - 1


class MalformedRowsError(ValueError):
    """Rows that break a rule; `rows` are their zero-based indices, `reason` says which rule."""

    def __init__(self, rows: Sequence[int], reason: str) -> None:
        self.rows = tuple(int(row) for row in rows)
        self.reason = reason
        super().__init__(f"row {' and '.join(map(str, self.rows))}: {reason}")


@dataclass(frozen=True)
class RegionTracks:
    """Ground truth of one video, a row a region.

    track_ids: ``(R,)`` int64. frames: ``(R,)`` int64, zero-based. boxes: ``(R, 4)`` float64
    ``x1, y1, x2, y2``, inclusive pixels. Raises MalformedRowsError by the rules of this module.
    """

    track_ids: IntArray
    frames: IntArray
    boxes: FloatArray

    def __post_init__(self) -> None:
        track_ids = whole_numbers("track id", self.track_ids, -LARGEST_NUMBER)
        object.__setattr__(self, "track_ids", track_ids)
        _set_frames_and_boxes(self, rows=len(track_ids))
        _refuse_repeats(self.track_ids, self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    @staticmethod
    def empty() -> RegionTracks:
        """Return the ground truth of a normal video."""
        none = np.zeros(0, np.int64)
        return RegionTracks(none, none, np.zeros((0, 4)))


@dataclass(frozen=True)
class ScoredBoxes:
    """Detections of one video, a row a box; a higher score is more anomalous.

    frames: ``(N,)`` int64, zero-based. boxes: ``(N, 4)`` float64 ``x1, y1, x2, y2``, inclusive
    pixels. scores: ``(N,)`` float64. track_ids: ``(N,)`` of numbers or strings, the tracks that the
    boxes belong to, where known. Raises MalformedRowsError by the rules of this module.
    """

    frames: IntArray
    boxes: FloatArray
    scores: FloatArray
    track_ids: NDArray[np.generic] | None = None

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, np.float64)
        _refuse(~np.isfinite(scores), "the score must be finite, got {}", scores)
        object.__setattr__(self, "scores", scores)
        _set_frames_and_boxes(self, rows=len(scores))
        if self.track_ids is not None:
            track_ids = np.asarray(self.track_ids)
            if track_ids.shape != scores.shape:
                raise ValueError(f"got track_ids {track_ids.shape} for {len(scores)} scores")
            object.__setattr__(self, "track_ids", track_ids)

    def __len__(self) -> int:
        return len(self.frames)

    @staticmethod
    def empty() -> ScoredBoxes:
        """Return the detections of a video where nothing was detected."""
        return ScoredBoxes(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))


@dataclass(frozen=True)
class JoinedVideos:
    """All videos below each other, and which detections overlap which regions.

    region_tracks ``(R,)``: 0 .. tracks - 1. region_frames ``(R,)``, detection_frames ``(N,)``:
    frame numbers; tracks and frames of different videos differ. scores ``(N,)``. pair_detections,
    pair_regions ``(P,)``: indices of every detection and region of one frame that overlap enough.
    """

    region_tracks: IntArray
    region_frames: IntArray
    detection_frames: IntArray
    scores: FloatArray
    pair_detections: IntArray
    pair_regions: IntArray
    tracks: int


def join_videos(
    ground_truth: Sequence[RegionTracks], detections: Sequence[ScoredBoxes], iou_threshold: float
) -> JoinedVideos:
    """Join the videos, one entry a video in both, and pair boxes with IoU >= `iou_threshold`.

    Raises ValueError where the lengths differ, where no video has a region, or where the threshold
    is not in (0, 1].
    """
    if len(ground_truth) != len(detections):
        raise ValueError(
            f"got ground truth of {len(ground_truth)} videos and detections of {len(detections)}: "
            "pass one entry a video, RegionTracks.empty() or ScoredBoxes.empty() where it has none"
        )
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be in (0, 1], got {iou_threshold}")
    if not any(len(video) for video in ground_truth):
        raise ValueError("no video has a ground-truth region: detection rates are undefined")
    frames = [video.frames for video in ground_truth] + [video.frames for video in detections]
    stride = 1 + int(np.concatenate(frames).max())
    region_frames = np.concatenate([v.frames + i * stride for i, v in enumerate(ground_truth)])
    detection_frames = np.concatenate([v.frames + i * stride for i, v in enumerate(detections)])
    region_boxes = np.concatenate([video.boxes for video in ground_truth])
    detection_boxes = np.concatenate([video.boxes for video in detections])
    of_detection, of_region = _pairs_of_one_frame(detection_frames, region_frames)
    overlap = inclusive_iou(detection_boxes[of_detection], region_boxes[of_region])
    enough = overlap >= iou_threshold
    region_tracks, tracks = number_over_videos([video.track_ids for video in ground_truth])
    return JoinedVideos(
        region_tracks=region_tracks,
        region_frames=region_frames,
        detection_frames=detection_frames,
        scores=np.concatenate([video.scores for video in detections]),
        pair_detections=of_detection[enough],
        pair_regions=of_region[enough],
        tracks=tracks,
    )


def number_over_videos(ids: Sequence[NDArray[np.generic]]) -> tuple[IntArray, int]:
    """Number the ids of each video 0 .. n - 1 over all videos; return the numbers and n."""
    numbers, total = [], 0
    for ids_of_video in ids:
        unique, inverse = np.unique(ids_of_video, return_inverse=True)
        numbers.append(inverse.astype(np.int64) + total)
        total += len(unique)
    return np.concatenate(numbers), total


def metric_boxes(boxes: NDArray[np.floating]) -> FloatArray:
    """Return boxes ``(N, 4)`` of the package (outer edges) as inclusive pixels of the metrics.

    A box over the pixels 3 and 4 is 3 to 5 by its edges and 3 to 4 in inclusive pixels. One
    narrower than a pixel keeps that pixel.
    """
    inclusive = boxes.astype(np.float64)
    inclusive[:, 2:] = np.maximum(inclusive[:, 2:] - 1, inclusive[:, :2])
    return inclusive


def inclusive_iou(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return the IoU of boxes ``(K, 4)`` with others ``(K, 4)``, both in inclusive pixels.

    Inclusive: a box is ``x2 - x1 + 1`` pixels wide.
    """
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2]) + 1
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    other_areas = np.prod(others[:, 2:] - others[:, :2] + 1, axis=1)
    return intersection / (areas + other_areas - intersection)


def _pairs_of_one_frame(frames: IntArray, other_frames: IntArray) -> tuple[IntArray, IntArray]:
    """Return the indices ``(K,)``, ``(K,)`` of all pairs with equal frame numbers."""
    order = np.argsort(other_frames, kind="stable")
    in_order = other_frames[order]
    first = np.searchsorted(in_order, frames, side="left")
    counts = np.searchsorted(in_order, frames, side="right") - first
    index = np.repeat(np.arange(len(frames)), counts)
    # Position within the run of equal frames: 0, 1, .. counts[i] - 1 for each i.
    step = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    return index, order[first[index] + step]


def _refuse(bad: NDArray[np.bool_] | np.bool_, reason: str, values: NDArray[np.generic]) -> None:
    """Raise MalformedRowsError for the first bad row, `reason` formatted with its value."""
    if bad.any():
        row = int(np.argmax(bad))
        raise MalformedRowsError([row], reason.format(values[row]))


def whole_numbers(name: str, values: ArrayLike, smallest: int) -> IntArray:
    """Return `values` as int64 ``(N,)``.

    Raises MalformedRowsError for all but whole numbers from `smallest` to LARGEST_NUMBER.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"expected {name}s of shape (N,), got {numbers.shape}")
    # Written so that NaN is refused too.
    good = (numbers >= smallest) & (numbers <= LARGEST_NUMBER) & (numbers == np.floor(numbers))
    expected = f"the {name} must be a whole number from {smallest} to {LARGEST_NUMBER}"
    _refuse(~good, expected + ", got {:g}", numbers)
    return numbers.astype(np.int64)


def _set_frames_and_boxes(video: RegionTracks | ScoredBoxes, *, rows: int) -> None:
    frames = whole_numbers("frame", video.frames, 0)
    boxes = np.asarray(video.boxes, np.float64)
    if frames.shape != (rows,) or boxes.shape != (rows, 4):
        raise ValueError(
            f"expected {rows} frames and boxes of shape ({rows}, 4), "
            f"got {frames.shape} and {boxes.shape}"
        )
    _refuse(~np.isfinite(boxes).all(axis=1), "box coordinates must be finite, got {}", boxes)
    reversed_box = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    _refuse(reversed_box, "a box needs x1 <= x2 and y1 <= y2, got {} (corners, not width)", boxes)
    object.__setattr__(video, "frames", frames)
    object.__setattr__(video, "boxes", boxes)


def _refuse_repeats(track_ids: IntArray, frames: IntArray) -> None:
    order = np.lexsort((frames, track_ids))
    same = (np.diff(track_ids[order]) == 0) & (np.diff(frames[order]) == 0)
    if same.any():
        at = int(np.argmax(same))
        row, repeat = order[at], order[at + 1]
        what = f"track {track_ids[row]} has two regions in frame {frames[row]}"
        raise MalformedRowsError([row, repeat], what + "; keep one, or give them two track ids")


def refuse_frames_beyond(video: RegionTracks | ScoredBoxes, clip_length: int) -> None:
    """Raise MalformedRowsError where a frame number is not below `clip_length` (frames)."""
    reason = f"the clip has {clip_length} frames, numbered from 0, got frame " + "{}"
    _refuse(video.frames >= clip_length, reason, video.frames)
