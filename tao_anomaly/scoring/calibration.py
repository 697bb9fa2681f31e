"""From raw terms to one score in units of normal variation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tao_anomaly.structures import FloatArray


@dataclass(frozen=True)
class Calibration:
    """What held-out normal footage says of a model's terms.

    mean, scale: of each raw term there; a standardised term is 0 on average and has deviation 1.
    weights: of the terms in the score. cap: largest magnitude of a standardised term, so that one
    cue cannot drown the others. threshold: JSON description of the rule and what it found.
    evidence: what was fitted and checked on what.
    """

    term_names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    cap: float
    threshold: dict[str, Any]
    evidence: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "term_names", tuple(map(str, self.term_names)))
        for name in ("mean", "scale", "weights"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != len(self.term_names):
                raise ValueError(
                    f"key {name!r} has {len(values)} values, expected {len(self.term_names)}"
                )
            object.__setattr__(self, name, values)
        _expect(np.isfinite(self.mean).all(), "mean", self.mean, "finite values")
        scales = np.isfinite(self.scale).all() and min(self.scale, default=1) > 0
        _expect(scales, "scale", self.scale, "finite values above 0")
        weights = np.isfinite(self.weights).all() and min(self.weights, default=0) >= 0
        rule = "finite values of at least 0, not all 0"
        _expect(weights and sum(self.weights) > 0, "weights", self.weights, rule)
        _expect(self.cap > 0, "cap", self.cap, "a value above 0")

    @staticmethod
    def fit(
        raw: FloatArray, *, term_names: tuple[str, ...], weights: tuple[float, ...], cap: float
    ) -> Calibration:
        """Standardise raw terms ``(N, K)`` of normal windows; the threshold is still open.

        Rows with a NaN are left out. Raises ValueError where nothing remains.
        """
        finite = raw[np.isfinite(raw).all(axis=1)].astype(np.float64)
        if len(finite) < 2:
            raise ValueError(
                f"got {len(finite)} scored windows of normal footage, expected at least 2; give"
                " footage in which objects are tracked"
            )
        scale = finite.std(axis=0)
        return Calibration(
            term_names=term_names,
            mean=tuple(finite.mean(axis=0)),
            scale=tuple(np.where(scale > 1e-9, scale, 1.0)),
            weights=weights,
            cap=cap,
            threshold={"rule": "fixed", "value": float(np.finfo(np.float32).max)},
        )

    def standardise(self, raw: FloatArray) -> FloatArray:
        """Return the capped standardised terms of raw ones, both ``(N, K)``."""
        values = (raw.astype(np.float64) - _row(self.mean)) / _row(self.scale)
        return np.clip(values, -self.cap, self.cap).astype(np.float32)

    @property
    def usual_speed(self) -> float:
        """Mean speed of normal footage in person heights a second, NaN where it is not known."""
        known = dict(zip(self.term_names, self.mean, strict=True)).get("speed", math.nan)
        speed = float(self.evidence.get("usual_speed", known))
        return speed if speed > 0 else math.nan

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share ``(K,)`` of each term in the score; they sum to 1."""
        return np.array(self.weights, np.float64) / sum(self.weights)

    def contributions(self, standardised: FloatArray) -> FloatArray:
        """Return what each term adds to the score, ``(N, K)``; their sum is the score."""
        return (standardised * self.shares).astype(np.float32)


def _expect(holds: bool | np.bool_, key: str, got: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"key {key!r} is {got}, expected {expected}")


def _row(values: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array(values, np.float64)[None, :]
