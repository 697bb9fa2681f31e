"""Threshold rules: from scores of normal footage to the score that counts as anomalous.

The unit of ``q`` is the same everywhere: the probability that a normal track reaches the threshold
at least once, which is one false alarm. Scores along a track are strongly correlated, so a track
counts once, with its maximum (declustering), and the maxima of different tracks are treated as
independent. Tracks an hour turn q into expected false alarms an hour; what follows a threshold
(events with a minimal duration) only lowers them.

A rule is fitted on normal footage that trained nothing and checked on more of it
(`realised_rate`). What it finds is a JSON description, from which `online_threshold` makes the
object a scorer asks for the threshold of each image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tao_anomaly.scoring.adaptive_threshold import AdaptiveThreshold
from tao_anomaly.scoring.normal_scores import (
    SECONDS_PER_HOUR,
    Float64Array,
    NormalScores,
    ThresholdError,
    refuse_non_finite,
)

MIN_EXCEEDANCES = 10  # fewest maxima above the tail's start that a tail is fitted on
MIN_SHAPE = -0.5  # maximum likelihood of the GPD is regular only above it (Smith 1985)


class Threshold(Protocol):
    """What a scorer asks for the threshold of each image."""

    def update(self, scores: ArrayLike, seconds: float) -> float:
        """Return the threshold for this image, which depends on earlier images only.

        scores: all scores of the image, NaN where there is none. seconds: time of the image.
        """

    def reset(self) -> None:
        """Forget earlier images."""


class ThresholdRule(Protocol):
    """Fits a threshold on normal footage."""

    def fit(self, normal: NormalScores) -> dict[str, Any]:
        """Return its JSON description: rule, value (adaptive: at the start), how it was found.

        Raises ThresholdError for scores it cannot be fitted on.
        """


@dataclass(frozen=True, kw_only=True)
class FixedRule:
    """A threshold given by hand."""

    value: float

    def fit(self, normal: NormalScores) -> dict[str, Any]:
        """Return the description; the scores are only counted."""
        refuse_non_finite("value", np.array([self.value]))
        return {"rule": "fixed", "value": float(self.value), "tracks": normal.track_count}


@dataclass(frozen=True, kw_only=True)
class PercentileRule:
    """The (1 - q) quantile of the track maxima; needs at least 1 / q tracks."""

    q: float = 1e-2

    def fit(self, normal: NormalScores) -> dict[str, Any]:
        """Return the description; raises ThresholdError for too few tracks."""
        _check_probability("q", self.q)
        maxima = normal.maxima()
        if len(maxima) * self.q < 1:
            raise ThresholdError(
                f"got {len(maxima)} tracks, expected at least {int(np.ceil(1 / self.q))} for the"
                f" percentile rule at q={self.q}; give more normal footage or use the evt rule"
            )
        value = float(np.quantile(maxima, 1 - self.q))
        return {"rule": "percentile", "value": value, **_asked(self.q, normal)}


@dataclass(frozen=True, kw_only=True)
class EvtRule:
    """Peaks over threshold on the track maxima: a parametric tail reaches beyond the sample.

    The highest `tail` share of the maxima (at least MIN_EXCEEDANCES) is fitted by maximum
    likelihood with a generalised Pareto distribution (Pickands 1975; Balkema and de Haan 1974), or
    with a Weibull distribution (`family` "weibull"). A GPD shape below MIN_SHAPE is held there.

    How far it reaches, measured on GPD samples of shape -0.3 to 0.3: the realised rate is within a
    factor 2 of q in 9 of 10 samples where ``q * tracks`` is 4, in 5 of 10 where it is 1, in 3 of 10
    where it is 0.2, and then more often above q than below.
    """

    q: float = 1e-3
    tail: float = 0.1
    family: str = "gpd"

    def fit(self, normal: NormalScores) -> dict[str, Any]:
        """Return the description; raises ThresholdError for too few tracks or a flat tail."""
        return {"rule": "evt", **self.fit_maxima(normal.maxima()), **_asked(self.q, normal)}

    def fit_maxima(self, maxima: Float64Array) -> dict[str, Any]:
        """Return value, start, share, exceedances and the tail's parameters of maxima ``(M,)``."""
        _check_probability("q", self.q)
        _check_probability("tail", self.tail)
        if self.family not in ("gpd", "weibull"):
            raise ThresholdError(f"got family {self.family!r}, expected gpd or weibull")
        start, excess = self._tail(maxima)
        share = len(excess) / len(maxima)
        fitted = _fit_gpd(excess) if self.family == "gpd" else _fit_weibull(excess)
        if self.q >= share:  # inside the sample: no tail is needed to read it
            value = float(np.quantile(maxima, 1 - self.q))
        else:
            family = stats.genpareto if self.family == "gpd" else stats.weibull_min
            value = start + float(family.isf(self.q / share, fitted["shape"], 0, fitted["scale"]))
        return {
            "value": value,
            "family": self.family,
            "start": start,
            "exceedances": len(excess),
            **fitted,
        }

    def _tail(self, maxima: Float64Array) -> tuple[float, Float64Array]:
        count = max(MIN_EXCEEDANCES, round(self.tail * len(maxima)))
        if len(maxima) < 2 * MIN_EXCEEDANCES:
            raise ThresholdError(
                f"got {len(maxima)} tracks, expected at least {2 * MIN_EXCEEDANCES} for the evt"
                " rule; give more normal footage or use the fixed rule"
            )
        ordered = np.sort(maxima)
        start = float(ordered[-count - 1])
        excess = ordered[-count:] - start
        excess = excess[excess > 0]
        if len(excess) < MIN_EXCEEDANCES:
            raise ThresholdError(
                f"got {len(excess)} maxima above the tail's start {start:.6g}, expected at least"
                f" {MIN_EXCEEDANCES}: many tracks share one score; check the scores or use the"
                " fixed rule"
            )
        return start, excess


@dataclass(frozen=True, kw_only=True)
class AdaptiveRule:
    """A threshold that follows the scene: moving mean + factor x moving standard deviation.

    The moving statistics have the time constant `time_constant` (seconds) and begin at those of the
    fitted footage. The factor is the evt threshold (`q`, `tail`) of scores standardised by them.
    """

    q: float = 1e-3
    tail: float = 0.1
    time_constant: float = 600.0

    def fit(self, normal: NormalScores) -> dict[str, Any]:
        """Return the description; raises ThresholdError as the evt rule does."""
        if not self.time_constant > 0:
            raise ThresholdError(f"got time constant {self.time_constant}, expected above 0 s")
        if not len(normal.scores):
            raise ThresholdError("got no score of normal footage, expected some to adapt to")
        mean, spread = float(normal.scores.mean()), float(normal.scores.std())
        if not spread > 0:
            raise ThresholdError(
                f"all scores are {mean:.6g}: nothing to adapt to; check the scores"
            )
        settings = {"mean": mean, "spread": spread, "time_constant": self.time_constant}
        means = _levels(AdaptiveThreshold(factor=0.0, **settings), normal)
        spreads = _levels(AdaptiveThreshold(factor=1.0, **settings), normal) - means
        standardised = (normal.scores - means) / spreads
        tail = EvtRule(q=self.q, tail=self.tail).fit_maxima(normal.maxima(standardised))
        factor = tail.pop("value")
        return {
            "rule": "adaptive",
            "value": mean + factor * spread,
            "factor": factor,
            **settings,
            "tail": tail,
            **_asked(self.q, normal),
        }


RULES: dict[str, type[ThresholdRule]] = {
    "evt": EvtRule,
    "percentile": PercentileRule,
    "fixed": FixedRule,
    "adaptive": AdaptiveRule,
}


def make_rule(name: str, **settings: Any) -> ThresholdRule:
    """Return the rule `name` with `settings`; raises ThresholdError naming what is known."""
    if name not in RULES:
        raise ThresholdError(f"got threshold rule {name!r}, expected one of {', '.join(RULES)}")
    try:
        return RULES[name](**settings)
    except TypeError as error:
        raise ThresholdError(f"threshold rule {name}: {error}") from error


@dataclass(frozen=True)
class ConstantThreshold:
    """The same threshold for every image."""

    value: float

    def update(self, scores: ArrayLike, seconds: float) -> float:
        """Return the threshold."""
        return self.value

    def reset(self) -> None:
        """Nothing to forget."""


def online_threshold(description: Mapping[str, Any]) -> Threshold:
    """Return the threshold a rule's description stands for; raises ThresholdError naming a key."""
    try:
        if description["rule"] == "adaptive":
            names = ("factor", "mean", "spread", "time_constant")
            return AdaptiveThreshold(**{name: float(description[name]) for name in names})
        return ConstantThreshold(float(description["value"]))
    except KeyError as error:
        raise ThresholdError(f"threshold description: no key {error}; fit it again") from error


@dataclass(frozen=True)
class RealisedRate:
    """How often normal tracks reached a threshold.

    rate: alarms / tracks, the unit of q. low, high: its exact 95 % interval (Clopper and Pearson
    1934). observation_rate: share of scored object-images at or above the threshold.
    alarms_per_hour: alarms an hour of footage.
    """

    tracks: int
    alarms: int
    rate: float
    low: float
    high: float
    observation_rate: float
    alarms_per_hour: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields, for JSON."""
        return asdict(self)


def realised_rate(description: Mapping[str, Any], normal: NormalScores) -> RealisedRate:
    """Return how often the tracks of `normal` reach the threshold a rule found on other footage."""
    if not len(normal.scores):
        raise ThresholdError("got no score of normal footage to check the threshold on")
    margin = normal.scores - _levels(online_threshold(description), normal)
    alarms = int((normal.maxima(margin) >= 0).sum())
    interval = stats.binomtest(alarms, normal.track_count).proportion_ci(0.95, method="exact")
    return RealisedRate(
        tracks=normal.track_count,
        alarms=alarms,
        rate=alarms / normal.track_count,
        low=float(interval.low),
        high=float(interval.high),
        observation_rate=float((margin >= 0).mean()),
        alarms_per_hour=alarms * SECONDS_PER_HOUR / normal.footage,
    )


def false_alarms_per_hour(q: float, tracks_per_hour: float) -> float:
    """Return the false alarms an hour to expect where a normal track alarms with probability q."""
    return q * tracks_per_hour


def _levels(threshold: Threshold, normal: NormalScores) -> Float64Array:
    """Return ``(N,)``, the threshold each score was met with; every clip begins anew."""
    levels = np.empty(len(normal.scores))
    clip = None
    for rows in normal.images:
        if normal.clips[rows.start] != clip:
            threshold.reset()
            clip = normal.clips[rows.start]
        levels[rows] = threshold.update(normal.scores[rows], float(normal.times[rows.start]))
    return levels


def _asked(q: float, normal: NormalScores) -> dict[str, Any]:
    per_hour = normal.tracks_per_hour
    return {
        "q": q,
        "unit": "probability that a normal track reaches the threshold",
        "tracks": normal.track_count,
        "tracks_per_hour": per_hour,
        "expected_false_alarms_per_hour": false_alarms_per_hour(q, per_hour),
    }


def _fit_gpd(excess: Float64Array) -> dict[str, float]:
    shape, _, scale = stats.genpareto.fit(excess, floc=0)
    if shape < MIN_SHAPE:
        shape, _, scale = stats.genpareto.fit(excess, f0=MIN_SHAPE, floc=0)
    return {"shape": float(shape), "scale": float(scale)}


def _fit_weibull(excess: Float64Array) -> dict[str, float]:
    shape, _, scale = stats.weibull_min.fit(excess, floc=0)
    return {"shape": float(shape), "scale": float(scale)}


def _check_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ThresholdError(f"got {name}={value}, expected a share between 0 and 1")
