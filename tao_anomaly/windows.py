"""Per-track ring buffers and the windows cut from them."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np

from tao_anomaly.config import WindowConfig
from tao_anomaly.structures import (
    NANOSECONDS,
    FloatArray,
    IntArray,
    TrackFeatures,
    TrackWindows,
)

_STAYS_WITHIN = 2.0  # of its own box heights: an object that moves no farther stays


class FeatureMismatchError(ValueError):
    """Features of one feature_id met what was made for another."""


class Stay:
    """How long one object has stayed where it is.

    A stay begins at a place, and another where the object is farther from it than two heights of
    its present box: who paces to and fro stays, who walks on does not. A gap in between counts.
    """

    def __init__(self) -> None:
        self._place = math.nan, math.nan
        self._since_ns = 0
        self.seconds = 0.0

    def update(self, stamp_ns: int, box: FloatArray) -> None:
        """Take in where the object is: a box ``(4,)`` in pixels."""
        x1, y1, x2, y2 = box.tolist()
        place = (x1 + x2) / 2, (y1 + y2) / 2
        if not math.dist(place, self._place) <= _STAYS_WITHIN * (y2 - y1):  # nor where it is NaN
            self._place, self._since_ns = place, stamp_ns
        self.seconds = (stamp_ns - self._since_ns) / NANOSECONDS


class _Ring:
    """The latest T observations of one track, and its stay."""

    def __init__(self, length: int, dim: int) -> None:
        self.features = np.zeros((length, dim), np.float32)
        self.stamps: IntArray = np.zeros(length, np.int64)
        self.stay = Stay()
        self.count = 0

    def push(self, stamp_ns: int, feature: FloatArray, box: FloatArray) -> None:
        slot = self.count % len(self.stamps)
        self.features[slot], self.stamps[slot] = feature, stamp_ns
        self.stay.update(stamp_ns, box)
        self.count += 1

    @property
    def newest_ns(self) -> int:
        return int(self.stamps[(self.count - 1) % len(self.stamps)])

    def order(self) -> IntArray:
        """Return the used slots, oldest first."""
        length = len(self.stamps)
        held = min(self.count, length)
        return (np.arange(self.count - held, self.count) % length).astype(np.int64)


class TrackBuffer:
    """Collects features along tracks and emits windows of those that are due.

    A track is due when it has just reached `min_observations` and then on every `hop`-th of its
    observations; the phase differs from track to track, so that the load is even. Buffers are
    bounded in number (least recently seen goes first) and age, and dropped on a new epoch.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.config = config
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._epoch: int | None = None
        self._feature_id: str | None = None

    def __len__(self) -> int:
        return len(self._rings)

    def reset(self) -> None:
        """Drop all buffers."""
        self._rings.clear()
        self._epoch = self._feature_id = None

    def update(self, features: TrackFeatures) -> TrackWindows:
        """Take in the features of one image and return its tracks and due windows.

        Raises FeatureMismatchError where the feature_id is not the one held, and ValueError where
        only the length of its features differs; the image is not taken in then. Observations with a
        non-finite feature are left out.
        """
        if self._feature_id not in (None, features.feature_id):
            raise FeatureMismatchError(
                f"got features {features.feature_id}, expected {self._feature_id} as before;"
                " reset the buffer to change the detector"
            )
        dim = features.features.shape[1]
        if features.epoch != self._epoch:
            self._rings.clear()
        elif any(ring.features.shape[1] != dim for ring in self._rings.values()):
            raise ValueError(f"got features of {dim} values, expected as many as before")
        self._epoch, self._feature_id = features.epoch, features.feature_id
        self._drop_old(features.stamp_ns)
        finite = np.asarray(np.isfinite(features.features).all(axis=1))
        due: list[int] = []
        for row, track_id in enumerate(features.tracks.ids):
            if finite[row] and self._push(track_id, features, row):
                due.append(row)
        while len(self._rings) > self.config.max_tracks:
            self._rings.popitem(last=False)
        return self._cut(features, due)

    def _push(self, track_id: str, features: TrackFeatures, row: int) -> bool:
        ring = self._rings.get(track_id)
        if ring is None:
            ring = _Ring(self.config.length, features.features.shape[1])
            self._rings[track_id] = ring
        self._rings.move_to_end(track_id)
        ring.push(features.stamp_ns, features.features[row], features.tracks.boxes[row])
        config = self.config
        if ring.count <= config.min_observations:
            return ring.count == config.min_observations
        return (ring.count + track_phase(track_id)) % config.hop == 0

    def _drop_old(self, stamp_ns: int) -> None:
        max_age_ns = self.config.max_age * NANOSECONDS
        while self._rings:
            oldest = next(iter(self._rings))
            if stamp_ns - self._rings[oldest].newest_ns <= max_age_ns:
                return
            del self._rings[oldest]

    def _cut(self, features: TrackFeatures, due: list[int]) -> TrackWindows:
        ids = features.tracks.ids
        due = [row for row in due if ids[row] in self._rings]
        length, dim = self.config.length, features.features.shape[1]
        values = np.zeros((len(due), length, dim), np.float32)
        times = np.zeros((len(due), length), np.float32)
        valid = np.zeros((len(due), length), np.bool_)
        for window, row in enumerate(due):
            ring = self._rings[ids[row]]
            order = ring.order()
            values[window, length - len(order) :] = ring.features[order]
            seconds = (ring.stamps[order] - features.stamp_ns) / NANOSECONDS
            times[window, length - len(order) :] = seconds
            valid[window, length - len(order) :] = True
        held = [min(self._rings[i].count, length) if i in self._rings else 0 for i in ids]
        return TrackWindows(
            stamp_ns=features.stamp_ns,
            epoch=features.epoch,
            image_size=features.image_size,
            tracks=features.tracks,
            observations=np.array(held, np.int64),
            index=np.array(due, np.int64),
            features=values,
            times=times,
            valid=valid,
            stays=np.array([self._rings[ids[row]].stay.seconds for row in due], np.float32),
            feature_id=features.feature_id,
        )


def track_phase(track_id: str) -> int:
    """Return a number that differs between tracks and is the same in every run."""
    digits = track_id.rpartition("-")[2]
    return int(digits) if digits.isdigit() else sum(track_id.encode())
