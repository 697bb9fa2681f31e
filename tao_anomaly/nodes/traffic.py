"""What a node has done lately: counts, times and rates, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

SPAN = 10.0  # seconds that rates and percentiles look back
_SAMPLES = 2000  # most samples of one kind that are kept


class Recent:
    """Samples of the last SPAN seconds of the steady clock, at most _SAMPLES."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self._lock = threading.Lock()

    def add(self, value: float = 0.0) -> None:
        """Take in a sample now."""
        with self._lock:
            self._samples.append((time.monotonic(), value))

    def clear(self) -> None:
        """Forget all samples."""
        with self._lock:
            self._samples.clear()

    def rate(self) -> float:
        """Return samples a second, from the first to the last; 0 for fewer than two."""
        times = [at for at, _ in self._present()]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def percentiles(self, *shares: float) -> list[float]:
        """Return these percentiles (0..100) of the samples, NaN where there is none."""
        values = [value for _, value in self._present()]
        if not values:
            return [float("nan")] * len(shares)
        return [float(value) for value in np.percentile(values, shares)]

    def _present(self) -> list[tuple[float, float]]:
        since = time.monotonic() - SPAN
        with self._lock:
            return [sample for sample in self._samples if sample[0] >= since]


class Traffic:
    """Answers of a node.

    answered: so far. latency: seconds from the stamp of a message to its answer, by the node's
    clock. processing: seconds at work on it. waiting: seconds a message waited for its turn.
    errors: unexpected ones so far; last_error: the latest.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.errors = 0
        self.last_error = ""
        self.latency, self.processing, self.waiting = Recent(), Recent(), Recent()

    def restart(self) -> None:
        """Forget what was lately; the counts stay."""
        for recent in (self.latency, self.processing, self.waiting):
            recent.clear()

    def count_answer(self, *, latency: float, processing: float) -> None:
        """Count an answered message."""
        self.answered += 1
        self.latency.add(latency)
        self.processing.add(processing)

    def count_error(self, error: str) -> None:
        """Count an unexpected error."""
        self.errors += 1
        self.last_error = error
