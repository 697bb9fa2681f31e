"""Distances to what is nearest in a memory of normal observations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tao_anomaly.matrix_product import product
from tao_anomaly.structures import BoolArray, FloatArray


def unit_length(values: FloatArray) -> FloatArray:
    """Return vectors ``(N, A)`` at length 1."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-6), np.float32)


@dataclass(frozen=True)
class Memory:
    """Normal observations that others are compared with.

    values ``(R, A)``. moving ``(R,)``: True where only its movement showed the object.
    """

    values: FloatArray
    moving: BoolArray

    @cached_property
    def squares(self) -> FloatArray:
        """Squared lengths ``(R,)`` of the values."""
        return (self.values**2).sum(axis=1)

    def distance(self, values: FloatArray, moving: BoolArray, count: int) -> FloatArray:
        """Return the mean distance ``(N,)`` of values ``(N, A)`` to their `count` nearest.

        moving ``(N,)``: as of the memory. An object that the detector knows is compared with such
        alone, unless they are fewer than `count`: most of what merely moves looks like nothing.
        """
        if not len(values):
            return np.zeros(0, np.float32)
        squared = product(values, self.values.T)
        squared *= -2
        squared += self.squares  # less the squared length of the values, the same for a whole row
        count = min(count, len(self.values))
        if self.moving.any() and (~self.moving).sum() >= count:
            squared[~moving[:, None] & self.moving[None]] = np.inf
        if count == 1:  # a minimum is much faster than a partition
            nearest = squared.min(axis=1, keepdims=True)
        else:
            nearest = np.partition(squared, count - 1, axis=1)[:, :count]
        nearest = nearest + np.square(values).sum(axis=1, keepdims=True)
        return np.asarray(np.sqrt(np.maximum(nearest, 0)).mean(axis=1), np.float32)
