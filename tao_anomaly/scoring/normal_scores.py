"""Scores of normal footage, which thresholds are fitted on and checked with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

SECONDS_PER_HOUR = 3600.0


class ThresholdError(ValueError):
    """Scores a threshold cannot be fitted on, or a setting that makes no sense."""


@dataclass(frozen=True)
class NormalScores:
    """Scores of normal footage, a row an object and image, in order of clip and time.

    scores ``(N,)``: finite (rows that were not scored are left out). clips ``(N,)``, tracks
    ``(N,)``: names; a track id counts within its clip. times ``(N,)``: seconds, rising within a
    clip, the same for all rows of one image. footage: seconds of all clips, images without a score
    included. Raises ThresholdError for other lengths, non-finite values and disordered rows.
    """

    scores: Float64Array
    clips: NDArray[np.str_]
    tracks: NDArray[np.str_]
    times: Float64Array
    footage: float

    def __post_init__(self) -> None:
        for name, kind in (("scores", np.float64), ("times", np.float64), ("clips", np.str_)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        object.__setattr__(self, "tracks", np.asarray(self.tracks, np.str_))
        count = len(self.scores)
        for name in ("clips", "tracks", "times"):
            if getattr(self, name).shape != (count,):
                raise ThresholdError(
                    f"got {name} {getattr(self, name).shape}, expected ({count},), one a score"
                )
        refuse_non_finite("scores", self.scores)
        refuse_non_finite("times", self.times)
        if not self.footage > 0:
            raise ThresholdError(f"got {self.footage} seconds of footage, expected more than 0")
        same = self.clips[1:] == self.clips[:-1]
        if np.any(same & (np.diff(self.times) < 0)) or (~same).sum() >= len(set(self.clips)) > 0:
            raise ThresholdError("rows are out of order: sort them by clip, then by time")

    @cached_property
    def track_index(self) -> NDArray[np.int64]:
        """``(N,)`` number of each row's track, 0 .. tracks - 1, unique over the clips."""
        _, clip = np.unique(self.clips, return_inverse=True)
        ids, track = np.unique(self.tracks, return_inverse=True)
        return np.unique(clip * len(ids) + track, return_inverse=True)[1].astype(np.int64)

    @property
    def track_count(self) -> int:
        """Number of tracks M."""
        return int(self.track_index.max()) + 1 if len(self.scores) else 0

    @property
    def tracks_per_hour(self) -> float:
        """Tracks an hour of footage, which turns q into false alarms an hour."""
        return self.track_count * SECONDS_PER_HOUR / self.footage

    @property
    def images(self) -> list[slice]:
        """Rows of each image that has any, in order."""
        changed = (self.clips[1:] != self.clips[:-1]) | (np.diff(self.times) > 0)
        edges = [0, *(np.flatnonzero(changed) + 1).tolist(), len(self.scores)]
        return [slice(a, b) for a, b in pairwise(edges) if b > a]

    def maxima(self, values: Float64Array | None = None) -> Float64Array:
        """Return ``(M,)``, the highest score (or of `values`, a row a score) of each track."""
        highest = np.full(self.track_count, -np.inf)
        np.maximum.at(highest, self.track_index, self.scores if values is None else values)
        return highest


def refuse_non_finite(name: str, values: Float64Array) -> None:
    """Raise ThresholdError where a value is NaN or infinite."""
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ThresholdError(
            f"got {bad} of {len(values)} {name} that are not finite, expected none; leave out what"
            " was not scored"
        )
