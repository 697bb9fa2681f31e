"""ByteTrack: every detection box is associated, the uncertain ones in a second round.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022,
written from the paper. Times are seconds, so that the frame rate is no parameter; association
ignores the class, which flickers on unusual objects, but that of what merely moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tao_anomaly.config import CONFIRMING_CONFIDENCE, TrackerConfig
from tao_anomaly.detection.boxes import iou
from tao_anomaly.structures import (
    MOVING_OBJECT,
    NANOSECONDS,
    BoolArray,
    Detections,
    FloatArray,
    IntArray,
    Tracks,
    TrackState,
)
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion
from tao_anomaly.tracking.kalman import BoxFilter

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class _Matches:
    """Pairs of track rows and detection rows, and the rows of both left over."""

    tracks: Rows
    detections: Rows
    free_tracks: Rows
    free_detections: Rows


class ByteTracker:
    """ByteTrack of one stream; ids are ``"<epoch>-<n>"`` and never used twice."""

    def __init__(self, config: TrackerConfig, *, epoch: int = 0) -> None:
        self.config = config
        self.reset(epoch)

    def reset(self, epoch: int) -> None:
        """Forget all objects; ids from now on begin with this epoch."""
        self._epoch = epoch
        self._count = 0
        self._stamp_ns: int | None = None
        self._filter = BoxFilter.start(np.zeros((0, 4)))
        self._numbers: IntArray = np.zeros(0, np.int64)
        self._ages: IntArray = np.zeros(0, np.int64)
        self._states: IntArray = np.zeros(0, np.int64)
        self._seen_ns: IntArray = np.zeros(0, np.int64)
        self._moving: BoolArray = np.zeros(0, np.bool_)  # only its movement shows the object

    def update(self, detections: Detections, stamp_ns: int, motion: CameraMotion = STILL) -> Tracks:
        """Return the objects seen in this image, with their detections' own boxes.

        motion: of the camera, from the last image to this one.

        An object is NEW in its first image and dropped if the next does not confirm it; those not
        seen are remembered for `lifetime` seconds and not returned.
        """
        if self._stamp_ns is not None:
            self._filter.predict((stamp_ns - self._stamp_ns) / NANOSECONDS)
            self._ages += 1
        if motion is not STILL:
            self._filter.move(motion)
        self._stamp_ns = stamp_ns
        rows, found = self._associate(detections)
        self._filter.correct(rows, _centre_size(detections.boxes[found]))
        self._states[rows] = TrackState.TRACKED
        self._seen_ns[rows] = stamp_ns
        matched: Rows = np.full(len(self._filter), -1, np.intp)
        matched[rows] = found
        matched = self._forget(matched, stamp_ns)
        matched = self._begin(detections, matched, stamp_ns)
        return self._visible(detections, matched)

    def _associate(self, detections: Detections) -> tuple[Rows, Rows]:
        config, scores = self.config, detections.scores
        predicted = _corners(self._filter.position)
        # An area that moves may be a part of what the network boxed before: never the same object.
        alike = self._moving[:, None] == (detections.class_ids == MOVING_OBJECT)[None]
        overlap = iou(predicted, detections.boxes) * alike
        fused = overlap * scores[None, :]
        confirmed = np.flatnonzero(self._states != TrackState.NEW)
        new = np.flatnonzero(self._states == TrackState.NEW)
        high = np.flatnonzero(scores >= config.high_confidence)
        low = np.flatnonzero(scores < config.high_confidence)
        first = _match(fused, confirmed, high, config.match_iou)
        recent = first.free_tracks[self._states[first.free_tracks] == TrackState.TRACKED]
        second = _match(overlap, recent, low, config.low_match_iou)
        free = np.concatenate([first.free_detections, second.free_detections])
        sure = overlap * np.maximum(scores, CONFIRMING_CONFIDENCE)[None, :]
        third = _match(sure, new, free, config.unconfirmed_match_iou)
        stages = (first, second, third)
        rows = np.concatenate([stage.tracks for stage in stages])
        return rows, np.concatenate([stage.detections for stage in stages])

    def _forget(self, matched: Rows, stamp_ns: int) -> Rows:
        """Drop unconfirmed and expired objects among the unmatched, mark the others LOST."""
        unmatched = matched < 0
        expired = (stamp_ns - self._seen_ns) / NANOSECONDS > self.config.lifetime
        kept = np.flatnonzero(~(unmatched & (expired | (self._states == TrackState.NEW))))
        self._states[unmatched] = TrackState.LOST
        self._filter.keep(kept)
        for name in ("_numbers", "_ages", "_states", "_seen_ns", "_moving"):
            setattr(self, name, getattr(self, name)[kept])
        return matched[kept]

    def _begin(self, detections: Detections, matched: Rows, stamp_ns: int) -> Rows:
        """Start an object for each confident detection that no object claimed."""
        free = detections.scores >= self.config.new_track_confidence
        free[matched[matched >= 0]] = False
        rows = np.flatnonzero(free)
        numbers = self._count + 1 + np.arange(len(rows))
        self._count += len(rows)
        self._filter.append(BoxFilter.start(_centre_size(detections.boxes[rows])))
        self._numbers = np.concatenate([self._numbers, numbers])
        self._ages = np.concatenate([self._ages, np.zeros(len(rows), np.int64)])
        self._states = np.concatenate([self._states, np.full(len(rows), int(TrackState.NEW))])
        self._seen_ns = np.concatenate([self._seen_ns, np.full(len(rows), stamp_ns, np.int64)])
        moving = detections.class_ids[rows] == MOVING_OBJECT
        self._moving = np.concatenate([self._moving, moving])
        return np.concatenate([matched, rows])

    def _visible(self, detections: Detections, matched: Rows) -> Tracks:
        rows = np.flatnonzero(matched >= 0)
        found = detections.select(matched[rows])
        return Tracks(
            ids=tuple(f"{self._epoch}-{number}" for number in self._numbers[rows]),
            boxes=found.boxes,
            scores=found.scores,
            class_ids=found.class_ids,
            ages=self._ages[rows],
            states=self._states[rows],
        )


def _match(similarity: FloatArray, tracks: Rows, detections: Rows, minimum: float) -> _Matches:
    """Assign detections to tracks for the highest total similarity, no pair below `minimum`."""
    if not len(tracks) or not len(detections):
        return _Matches(tracks[:0], detections[:0], tracks, detections)
    table = similarity[np.ix_(tracks, detections)]
    # An inadmissible pair is worth nothing, so it never displaces an admissible one.
    rows, columns = linear_sum_assignment(np.where(table >= minimum, table, 0.0), maximize=True)
    good = table[rows, columns] >= minimum
    rows, columns = rows[good], columns[good]
    return _Matches(
        tracks[rows],
        detections[columns],
        np.delete(tracks, rows),
        np.delete(detections, columns),
    )


def _centre_size(boxes: FloatArray) -> NDArray[np.float64]:
    corners = boxes.astype(np.float64)
    sizes = corners[:, 2:] - corners[:, :2]
    return np.concatenate([corners[:, :2] + sizes / 2, sizes], axis=1)


def _corners(centre_size: NDArray[np.float64]) -> FloatArray:
    centre, half = centre_size[:, :2], centre_size[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
