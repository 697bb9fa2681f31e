"""Predictors without learning that a masked autoencoder must beat, on the same masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tao_anomaly.structures import BoolArray, FloatArray, IntArray

Predictor = Callable[[FloatArray, FloatArray, BoolArray], FloatArray]


def visible_mean(values: FloatArray, times: FloatArray, visible: BoolArray) -> FloatArray:
    """Return the mean of the visible steps for every step; 0, the data's mean, where none is.

    values ``(B, T, K)`` standardised, times ``(B, T)`` in seconds, visible ``(B, T)``.
    """
    total = np.where(visible[..., None], values, 0.0).sum(axis=1, keepdims=True)
    count = np.maximum(visible.sum(axis=1), 1)[:, None, None]
    return np.broadcast_to(total / count, values.shape)


def last_value(values: FloatArray, times: FloatArray, visible: BoolArray) -> FloatArray:
    """Return the latest visible step before each; before the first, that one. Else as the mean."""
    before, after = _neighbours(visible)
    return _at(values, np.where(before >= 0, before, after), visible)


def linear_interpolation(values: FloatArray, times: FloatArray, visible: BoolArray) -> FloatArray:
    """Return the line between the visible neighbours in time; beyond the ends the nearest value."""
    before, after = _neighbours(visible)
    left = np.where(before >= 0, before, after)
    right = np.where(after < visible.shape[1], after, left)
    begin, end = (np.take_along_axis(times, _safe(i, visible), axis=1) for i in (left, right))
    span = end - begin
    share = np.where(span > 0, (times - begin) / np.where(span > 0, span, 1.0), 0.0)[..., None]
    start = _at(values, left, visible)
    return start + share.astype(np.float32) * (_at(values, right, visible) - start)


PREDICTORS: dict[str, Predictor] = {
    "mean": visible_mean,
    "linear": linear_interpolation,
    "last": last_value,
}


def _neighbours(visible: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the nearest visible step at or before (-1: none) and at or after (T: none) each."""
    steps = np.arange(visible.shape[1])
    before = np.maximum.accumulate(np.where(visible, steps, -1), axis=1)
    reverse = np.where(visible, steps, visible.shape[1])[:, ::-1]
    return before, np.minimum.accumulate(reverse, axis=1)[:, ::-1]


def _safe(index: IntArray, visible: BoolArray) -> IntArray:
    return np.clip(index, 0, visible.shape[1] - 1)


def _at(values: FloatArray, index: IntArray, visible: BoolArray) -> FloatArray:
    taken = np.take_along_axis(values, _safe(index, visible)[..., None], axis=1)
    seen = np.asarray(visible.any(axis=1))
    return np.where(seen[:, None, None], taken, np.float32(0))
