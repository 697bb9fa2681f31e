"""A threshold that follows the scores of a scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class AdaptiveThreshold:
    """Moving mean + factor x moving standard deviation of the scores of earlier images.

    An image weighs ``1 - exp(-dt / time_constant)``. Scores enter clipped at CLIP standard
    deviations, so that an anomaly hardly lifts the threshold it is measured by, and the standard
    deviation never falls below FLOOR of that of the fitted footage.
    """

    CLIP = 3.0
    FLOOR = 0.1

    def __init__(self, *, factor: float, mean: float, spread: float, time_constant: float) -> None:
        self.factor = factor
        self.time_constant = time_constant
        self._start = (mean, spread)
        self.reset()

    def reset(self) -> None:
        """Return to the statistics of the fitted footage."""
        self.mean, self.spread = self._start
        self._seconds: float | None = None

    def update(self, scores: ArrayLike, seconds: float) -> float:
        """Return the threshold for this image, then take its finite scores in."""
        threshold = self.mean + self.factor * self.spread
        values = np.asarray(scores, np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            elapsed = 0.0 if self._seconds is None else max(0.0, seconds - self._seconds)
            self._take_in(values, 1.0 - float(np.exp(-elapsed / self.time_constant)))
            self._seconds = seconds
        return threshold

    def _take_in(self, values: NDArray[np.float64], weight: float) -> None:
        reach = self.CLIP * self.spread
        values = np.clip(values, self.mean - reach, self.mean + reach)
        square = self.spread**2 + self.mean**2
        square += weight * (float(np.mean(values**2)) - square)
        self.mean += weight * (float(values.mean()) - self.mean)
        variance = max(0.0, square - self.mean**2)
        self.spread = max(float(np.sqrt(variance)), self.FLOOR * self._start[1])
