"""From raw terms to one score in units of normal variation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tao_anomaly.structures import BoolArray, FloatArray

_TAIL = 0.1  # share of normal windows that the tail of a term is fitted on
_FEWEST = 100  # windows of a group for tails of its own


@dataclass(frozen=True)
class Calibration:
    """What held-out normal footage says of a model's terms.

    location, scale: of the exponential tail of each raw term there. A standardised term is minus
    the logarithm of the share of normal windows that reach it, less 1: for terms with such a tail 0
    on average, and of deviation 1. Where nearly all have one value, the least, that is 0. It lies
    between -1 (all reach it) and `cap`, so that one cue cannot drown the others. weights: of the
    terms in the score, which is then Fisher's combination of their tail probabilities. threshold:
    JSON description of the rule and what it found. evidence: what was fitted and checked on what.
    moving_location, moving_scale: of the objects that only their movement shows, which differ more
    from each other; empty where normal footage has too few of them: they are as others then.
    """

    term_names: tuple[str, ...]
    location: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    cap: float
    threshold: dict[str, Any]
    evidence: dict[str, Any] = field(default_factory=dict)
    moving_location: tuple[float, ...] = ()
    moving_scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "term_names", tuple(map(str, self.term_names)))
        _expect(
            len(self.moving_location) == len(self.moving_scale),
            "moving_scale",
            self.moving_scale,
            f"{len(self.moving_location)} values",
        )
        may_lack = () if self.moving_location else ("moving_location", "moving_scale")
        for name in ("location", "scale", "weights", "moving_location", "moving_scale"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != len(self.term_names) and name not in may_lack:
                raise ValueError(
                    f"key {name!r} has {len(values)} values, expected {len(self.term_names)}"
                )
            object.__setattr__(self, name, values)
        for name in ("location", "moving_location"):
            values = getattr(self, name)
            _expect(np.isfinite(values).all(), name, values, "finite values")
        for name in ("scale", "moving_scale"):
            values = getattr(self, name)
            positive = np.isfinite(values).all() and min(values, default=1) > 0
            _expect(positive, name, values, "finite values above 0")
        weights = np.isfinite(self.weights).all() and min(self.weights, default=0) >= 0
        rule = "finite values of at least 0, not all 0"
        _expect(weights and sum(self.weights) > 0, "weights", self.weights, rule)
        _expect(self.cap > 0, "cap", self.cap, "a value above 0")

    @staticmethod
    def fit(
        raw: FloatArray,
        *,
        term_names: tuple[str, ...],
        weights: tuple[float, ...],
        cap: float,
        moving: BoolArray | None = None,
    ) -> Calibration:
        """Standardise raw terms ``(N, K)`` of normal windows; the threshold is still open.

        moving ``(N,)``: True where only its movement shows the object. Rows with a NaN are left
        out. Raises ValueError where nothing remains.
        """
        known = np.isfinite(raw).all(axis=1)
        finite, moving = raw[known].astype(np.float64), _mask(moving, raw)[known]
        if len(finite) < 2:
            raise ValueError(
                f"got {len(finite)} scored windows of normal footage, expected at least 2; give"
                " footage in which objects are tracked"
            )
        many = min(moving.sum(), (~moving).sum()) >= _FEWEST
        tails = [_exponential_tail(column) for column in (finite[~moving] if many else finite).T]
        # Where all of them are alike, as in what none shows, the others' tail is the measure.
        moving_tails = [
            _exponential_tail(column) if np.ptp(column) > 0 else tail
            for column, tail in zip(finite[moving].T, tails, strict=True)
            if many
        ]
        location, scale = zip(*tails, strict=True)
        moving_location, moving_scale = zip(*moving_tails, strict=True) if many else ((), ())
        return Calibration(
            term_names=term_names,
            location=location,
            scale=scale,
            moving_location=moving_location,
            moving_scale=moving_scale,
            weights=weights,
            cap=cap,
            threshold={"rule": "fixed", "value": float(np.finfo(np.float32).max)},
        )

    def standardise(self, raw: FloatArray, moving: BoolArray | None = None) -> FloatArray:
        """Return the capped standardised terms of raw ones, both ``(N, K)``.

        moving ``(N,)``: True where only its movement shows the object, False everywhere if None.
        """
        location, scale = _row(self.location), _row(self.scale)
        if self.moving_location:
            others = _mask(moving, raw)[:, None]
            location = np.where(others, _row(self.moving_location), location)
            scale = np.where(others, _row(self.moving_scale), scale)
        values = (raw.astype(np.float64) - location) / scale
        return np.clip(values, -1.0, self.cap).astype(np.float32)

    @property
    def usual_speed(self) -> float:
        """Mean speed of normal footage in person heights a second, NaN where it is not known."""
        speed = float(self.evidence.get("usual_speed", math.nan))
        return speed if speed > 0 else math.nan

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share ``(K,)`` of each term in the score; they sum to 1."""
        return np.array(self.weights, np.float64) / sum(self.weights)

    def contributions(self, standardised: FloatArray) -> FloatArray:
        """Return what each term adds to the score, ``(N, K)``; their sum is the score."""
        return (standardised * self.shares).astype(np.float32)


def _mask(moving: BoolArray | None, raw: FloatArray) -> BoolArray:
    return np.zeros(len(raw), np.bool_) if moving is None else moving


def _exponential_tail(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return location and scale such that ``exp(-1 - (x - location) / scale)`` is the tail at x.

    The scale is the mean excess over the quantile where the tail begins, which is the likeliest for
    an exponential one. Values without a tail there keep their deviation as scale. Where
    nearly all have the least value, that is the location, and the few beyond it, who may be of one
    track, make no unit smaller than the term's own.
    """
    start = float(np.quantile(values, 1 - _TAIL))
    beyond = values[values > start]
    if start == values.min():
        return start, max(float(beyond.mean()) - start, 1.0) if len(beyond) else 1.0
    scale = float(beyond.mean() - start) if len(beyond) else float(values.std())
    scale = scale if scale > 1e-9 else 1.0
    return start + (1 + float(np.log(_TAIL))) * scale, scale


def _expect(holds: bool | np.bool_, key: str, got: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"key {key!r} is {got}, expected {expected}")


def _row(values: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array(values, np.float64)[None, :]
