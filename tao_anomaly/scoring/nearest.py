"""Distances to what is nearest in a memory of normal observations."""

from __future__ import annotations

import numpy as np

from tao_anomaly.structures import FloatArray


def unit_length(values: FloatArray) -> FloatArray:
    """Return vectors ``(N, A)`` at length 1."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-6), np.float32)


def mean_distance(
    values: FloatArray, memory: FloatArray, squares: FloatArray, count: int
) -> FloatArray:
    """Return the mean Euclidean distance ``(N,)`` of values ``(N, A)`` to their `count` nearest.

    memory ``(R, A)``: what is asked. squares ``(R,)``: squared lengths of its rows.
    """
    if not len(values):
        return np.zeros(0, np.float32)
    squared = (values**2).sum(axis=1)[:, None] - 2 * values @ memory.T + squares[None]
    count = min(count, len(memory))
    nearest = np.partition(squared, count - 1, axis=1)[:, :count]
    return np.asarray(np.sqrt(np.maximum(nearest, 0)).mean(axis=1), np.float32)
