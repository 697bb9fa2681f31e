"""What a fitted velocity counts, by the times of the steps that it was fitted on."""

from __future__ import annotations

import numpy as np

from tao_anomaly.config import FeatureConfig
from tao_anomaly.structures import FloatArray, TrackWindows

_HALF_BELIEVED = 0.01  # s^2: scatter of times from which a fitted velocity counts by half
_BELIEVED_OVER = FeatureConfig.velocity_span  # seconds of a window that count for it


def belief(windows: TrackWindows) -> FloatArray:
    """Return what the newest velocity of each window counts ``(M,)``, 0 to 1."""
    scatter = _scatter(windows)
    return np.asarray(scatter / (scatter + _HALF_BELIEVED), np.float32)


def _scatter(windows: TrackWindows) -> FloatArray:
    """Return the sum of squared deviations of the recent steps' times ``(M,)``, in s^2."""
    recent = windows.valid & (windows.times >= -_BELIEVED_OVER)
    count = np.maximum(recent.sum(axis=1), 1)[:, None]
    times = np.where(recent, windows.times, 0.0)
    deviations = np.where(recent, times - times.sum(axis=1, keepdims=True) / count, 0.0)
    return np.asarray((deviations**2).sum(axis=1), np.float32)
