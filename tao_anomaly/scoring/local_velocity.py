"""How things move at each place of a scene, learned from normal footage.

A velocity that is usual in one lane is against the traffic in the next: it is compared with those
seen near where it is, and with no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import KDTree

from tao_anomaly.structures import NANOSECONDS, BoolArray, FloatArray, TrackFeatures

_NEAR = 1 / 80  # share of the normal observations, the nearest in place, that are asked
_FEWEST = 10  # of them, where there are few
_ALIKE = 5  # of those, nearest in velocity, that it is measured against
_REACH = 2.0  # person heights to the nearest of them at which they tell by half
_TOLD_AFTER = 0.5  # seconds of a track from which its fitted velocity is remembered


@dataclass(frozen=True)
class LocalVelocities:
    """Normal velocities and where they were seen; of none, nothing is unusual.

    places ``(R, 2)``: x and y in image heights. velocities ``(R, 2)``: in person heights a second.
    """

    places: FloatArray
    velocities: FloatArray

    @staticmethod
    def none() -> LocalVelocities:
        """Return a memory without an observation."""
        return LocalVelocities(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.places)

    def distance(
        self, places: FloatArray, velocities: FloatArray, person: FloatArray
    ) -> FloatArray:
        """Return how far velocities ``(N, 2)`` are from those seen near `places` ``(N, 2)``.

        In person heights a second; less the farther away the nearest was. person ``(N,)``: height
        of a person there, in image heights.
        """
        if not len(self.places) or not len(places):
            return np.zeros(len(places), np.float32)
        count = min(max(round(_NEAR * len(self.places)), _FEWEST), len(self.places))
        away, near = self._tree.query(places, k=range(1, count + 1))
        apart = np.linalg.norm(velocities[:, None] - self.velocities[near], axis=2)
        alike = np.sort(apart, axis=1)[:, :_ALIKE].mean(axis=1)
        squared = np.square(away[:, 0] / person)
        return np.asarray(alike * _REACH**2 / (_REACH**2 + squared), np.float32)


def told(images: Iterable[TrackFeatures]) -> BoolArray:
    """Return which objects ``(N,)`` of a clip's images were tracked long enough for a velocity."""
    begun: dict[str, int] = {}
    found: list[bool] = []
    for image in images:
        for track_id in image.tracks.ids:
            begun[track_id] = min(begun.get(track_id, image.stamp_ns), image.stamp_ns)
            found.append(image.stamp_ns - begun[track_id] >= _TOLD_AFTER * NANOSECONDS)
    return np.array(found, np.bool_)
