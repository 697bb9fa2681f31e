"""What a fitted velocity counts: that of a box may be none of an object.

A line through a few places always has a slope, and boxes jump where an object is half hidden or
two are taken for one: the standard error of the slope tells both from a motion. A box that slides
from one object to the next is told by what moves inside it: what really moves takes its pixels
along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tao_anomaly.config import FeatureConfig
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.structures import BoolArray, FloatArray

_DOUBTED = 3.0  # standard errors at which a velocity counts by half
_USUAL = 2.0  # observations that the usual jitter counts for beside an object's own
_OVER = FeatureConfig.velocity_span  # seconds of a window that a velocity is fitted on
_ENOUGH = 4  # observations that tell an object's own jitter
_NEARLY_ALL = 0.95  # share of normal objects that move whose flow supports it
_SHORTEST = 1e-12  # squared seconds that times differ by at least, for divisions
_EIGHTHS = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)  # directions of flow, +x towards +y


@dataclass(frozen=True)
class Motion:
    """How the objects of windows move, lengths in person heights.

    times ``(M, T)`` and valid ``(M, T)`` as of the windows, places ``(M, T, 2)``, velocity
    ``(M, 2)`` of the newest step, a second, and flow ``(M, T, DIRECTIONS)``, a second.
    """

    times: FloatArray
    valid: BoolArray
    places: FloatArray
    velocity: FloatArray
    flow: FloatArray

    @property
    def recent(self) -> BoolArray:
        """True ``(M, T)`` for the observations that the velocity is fitted on."""
        return self.valid & (self.times >= -_OVER - 1e-6)


@dataclass(frozen=True)
class NormalMotion:
    """How normal objects move.

    jitter: usual variance of places about a straight path, squared person heights. support: share
    of its velocity that nearly everything that moves shows as flow; 0: flow tells nothing.
    """

    jitter: float = 0.0
    support: float = 0.0

    @staticmethod
    def fit(motions: Sequence[Motion]) -> NormalMotion:
        """Measure the motions of normal windows; 0 where none is seen often enough."""
        known = np.concatenate([np.zeros(0), *(jitters(motion) for motion in motions)])
        jitter = float(np.float32(np.median(known))) if len(known) else 0.0
        shares = [np.zeros(0)]
        for motion in motions:
            moves = belief(motion, NormalMotion(jitter)) >= 0.5
            told = moves & (motion.recent.sum(axis=1) >= _ENOUGH) & _flows(motion).any(axis=1)
            shares.append(supports(motion)[told])
        found = np.concatenate(shares)
        support = float(np.float32(np.quantile(found, 1 - _NEARLY_ALL))) if len(found) else 0.0
        return NormalMotion(jitter, support)


def belief(motion: Motion, normal: NormalMotion) -> FloatArray:
    """Return what the velocity of each window counts ``(M,)``, 0 to 1."""
    residual, count, scatter = _about_line(motion)
    variance = (residual + _USUAL * normal.jitter) / (np.maximum(count - 2, 0) + _USUAL)
    doubt = _DOUBTED**2 * variance / np.maximum(scatter, _SHORTEST)
    squared = np.square(motion.velocity.astype(np.float64)).sum(axis=1)
    stands_out = np.where(
        count < 2, 0.0, squared / np.maximum(squared + doubt, np.finfo(np.float64).tiny)
    )
    if normal.support > 0:
        stands_out *= np.minimum(supports(motion) / normal.support, 1.0)
    return stands_out.astype(np.float32)


def jitters(motion: Motion) -> np.ndarray:
    """Return the variance about a straight path of those objects that were seen often enough.

    In squared person heights.
    """
    residual, count, _ = _about_line(motion)
    often = count >= _ENOUGH
    return np.asarray(residual[often] / (count[often] - 2), np.float64)


def supports(motion: Motion) -> np.ndarray:
    """Return the mean flow along the velocity, as a share of it ``(M,)``; 1 where none is known."""
    velocity = motion.velocity.astype(np.float64)
    speed = np.linalg.norm(velocity, axis=1)
    unit = velocity / np.maximum(speed, np.finfo(np.float32).tiny)[:, None]
    towards = np.maximum(unit @ np.stack([np.cos(_EIGHTHS), np.sin(_EIGHTHS)]), 0.0)
    known = _flows(motion)
    along = np.where(known, (motion.flow * towards[:, None]).sum(axis=2), 0.0).sum(axis=1)
    wanted = speed * known.sum(axis=1)
    return np.where(wanted > 0, along / np.where(wanted > 0, wanted, 1.0), 1.0)


def _flows(motion: Motion) -> BoolArray:
    """Return which recent steps ``(M, T)`` have a flow: the first image of a stream has none."""
    return np.asarray(motion.recent & motion.flow.any(axis=2))


def _about_line(motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the squared distances of recent places from a line over time, summed ``(M,)``.

    And how many there are, and the sum of squared deviations of their times, in s^2.
    """
    recent, times = motion.recent, motion.times
    count = recent.sum(axis=1)
    table = np.concatenate([times[..., None], motion.places], axis=2).astype(np.float64)
    table = np.where(recent[..., None], table, 0.0)
    mean = table.sum(axis=1, keepdims=True) / np.maximum(count, 1)[:, None, None]
    centred = np.where(recent[..., None], table - mean, 0.0)
    products = (centred[..., :1] * centred).sum(axis=1)  # of the times with themselves, x and y
    scatter = products[:, 0]
    explained = np.square(products[:, 1:]).sum(axis=1) / np.maximum(scatter, _SHORTEST)
    residual = np.square(centred[..., 1:]).sum(axis=(1, 2)) - explained
    return np.maximum(residual, 0.0), count, scatter
