"""Causal smoothing of a score along its track."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tao_anomaly.structures import NANOSECONDS

Value = TypeVar("Value", float, NDArray[np.float64])


@dataclass
class MovingAverage:
    """Exponentially weighted mean of the values, or of the arrays of values, of one track.

    Weights decay with time, ``exp(-seconds / time_constant)``, and are normalised by their sum, so
    that the first value counts in full (bias correction; Kingma and Ba 2015, section 3).
    """

    time_constant: float
    _weighted: Any = 0.0
    _weight: float = 0.0
    _stamp_ns: int = 0

    def update(self, value: Value, stamp_ns: int) -> Value:
        """Take in a value and return the mean."""
        seconds = max(0.0, (stamp_ns - self._stamp_ns) / NANOSECONDS)
        keep = math.exp(-seconds / self.time_constant) if self.time_constant > 0 else 0.0
        self._stamp_ns = stamp_ns
        self._weighted = keep * self._weighted + value
        self._weight = keep * self._weight + 1.0
        return self._weighted / self._weight

    def heir(self, share: float) -> MovingAverage:
        """Return an average that goes on with this one, its past weighed by `share`."""
        return replace(self, _weighted=share * self._weighted, _weight=share * self._weight)
