"""What a fitted velocity counts: more, the more it stands out from how its box jumps about.

A line through a few places always has a slope, and boxes jump where an object is half hidden or
two are taken for one. The standard error of the slope tells both from a motion.
"""

from __future__ import annotations

import numpy as np

from tao_anomaly.config import FeatureConfig
from tao_anomaly.structures import FloatArray, TrackWindows

_DOUBTED = 3.0  # standard errors at which a velocity counts by half
_USUAL = 2.0  # observations that the usual jitter counts for beside an object's own
_OVER = FeatureConfig.velocity_span  # seconds of a window that a velocity is fitted on
_ENOUGH = 6  # observations that tell an object's own jitter


def belief(
    windows: TrackWindows, places: FloatArray, speed: FloatArray, *, jitter: float
) -> FloatArray:
    """Return what the newest velocity of each window counts ``(M,)``, 0 to 1.

    places ``(M, T, 2)`` in person heights, speed ``(M,)`` in those a second. jitter: usual variance
    of places about a straight path, squared person heights.
    """
    residual, count, scatter = _about_line(windows, places)
    variance = (residual + _USUAL * jitter) / (np.maximum(count - 2, 0) + _USUAL)
    tiny = np.finfo(np.float64).tiny
    doubt = _DOUBTED**2 * variance / np.maximum(scatter, tiny)
    squared = np.square(speed.astype(np.float64))
    return np.where(count < 2, 0.0, squared / np.maximum(squared + doubt, tiny)).astype(np.float32)


def jitters(windows: TrackWindows, places: FloatArray) -> FloatArray:
    """Return the variance about a straight path of those objects that were seen often enough.

    places ``(M, T, 2)`` in person heights; squared person heights.
    """
    residual, count, _ = _about_line(windows, places)
    often = count >= _ENOUGH
    return np.asarray(residual[often] / (count[often] - 2), np.float64)


def _about_line(
    windows: TrackWindows, places: FloatArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the squared distances of recent places from a line over time, summed ``(M,)``.

    And how many there are, and the sum of squared deviations of their times, in s^2.
    """
    recent = windows.valid & (windows.times >= -_OVER - 1e-6)
    count = recent.sum(axis=1)
    table = np.concatenate([windows.times[..., None], places], axis=2).astype(np.float64)
    table = np.where(recent[..., None], table, 0.0)
    mean = table.sum(axis=1, keepdims=True) / np.maximum(count, 1)[:, None, None]
    centred = np.where(recent[..., None], table - mean, 0.0)
    products = (centred[..., :1] * centred).sum(axis=1)  # of the times with themselves, x and y
    scatter = products[:, 0]
    explained = np.square(products[:, 1:]).sum(axis=1) / np.maximum(scatter, 1e-12)
    residual = np.square(centred[..., 1:]).sum(axis=(1, 2)) - explained
    return np.maximum(residual, 0.0), count, scatter
