"""Pixel-level metrics over all pixels of all frames together: AUROC, AP, F1-max and AUPRO.

AUPRO is the area under the per-region overlap (PRO) over the pooled false-positive rate of the
normal pixels, up to a rate of 0.3 and divided by it. A region is an 8-connected component of a
frame's mask; PRO is the mean over all regions of the share of their pixels at or above the
threshold. Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021.

All four depend on the pixels only through how many normal ones, anomalous ones and shares of
regions have each score. `PixelAccumulator` keeps that histogram instead of the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tao_anomaly.metrics.score_curve import (
    BoolArray,
    FloatArray,
    ScoreCurve,
    checked,
    curve_of_levels,
    sum_from_top,
)

KeyArray = NDArray[np.uint64]

EIGHT_CONNECTED = np.ones((3, 3), np.int64)
FEWEST_LEVELS = 2**12  # what sign and exponent of a score need
SIGN_BIT = np.uint64(1 << 63)
# Columns of the histogram.
NORMAL, ANOMALOUS, REGION_SHARE, MERGED = range(4)


@dataclass(frozen=True)
class PixelMetrics:
    """Pixel-level results, all 0 .. 1.

    f1_max is chosen on the test labels: an upper bound, reached at f1_max_threshold. curve: counts
    of pixels over thresholds. pro ``(K,)``: per-region overlap at curve.thresholds. regions: how
    many. auroc_error, aupro_error: bounds on what the histogram's resolution can have changed, 0
    where it kept every score apart. fpr_limit: where AUPRO ends.
    """

    auroc: float
    average_precision: float
    f1_max: float
    f1_max_threshold: float
    aupro: float
    auroc_error: float
    aupro_error: float
    fpr_limit: float
    curve: ScoreCurve
    pro: FloatArray
    regions: int

    def sampled_aupro(self, thresholds: int) -> float:
        """Return AUPRO from only so many thresholds, to compare with numbers made that way.

        The thresholds are the scores that occur, evenly by rank; `aupro` uses every one.
        """
        levels = len(self.pro) - 1
        ranks = np.linspace(0, levels - 1, thresholds).astype(np.int64)
        points = np.append(levels - 1 - ranks[::-1], levels)
        return _area_up_to(self.curve.fpr[points], self.pro[points], self.fpr_limit)


class PixelAccumulator:
    """Pixel metrics of frames given one by one, in bounded memory.

    The histogram is exact while there are at most `max_levels` different scores, as with box-filled
    or quantised maps. Beyond, the lowest bits of the scores' floating-point representation are
    dropped until the levels fit: order is kept, only scores that agree in the remaining bits
    become ties. `max_levels` None never drops a bit; the default needs about 250 MB at most.
    """

    def __init__(self, *, max_levels: int | None = 2**18, fpr_limit: float = 0.3) -> None:
        if max_levels is not None and max_levels < FEWEST_LEVELS:
            raise ValueError(f"max_levels must be >= {FEWEST_LEVELS} or None, got {max_levels}")
        if not 0 < fpr_limit <= 1:
            raise ValueError(f"fpr_limit must be in (0, 1], got {fpr_limit}")
        self._max_levels = max_levels
        self._fpr_limit = fpr_limit
        self._dropped = np.uint64(0)  # mask of the dropped bits
        self._keys: list[KeyArray] = []
        self._rows: list[FloatArray] = []
        self._regions = 0

    def update(self, score_map: ArrayLike, mask: ArrayLike) -> None:
        """Add a frame: its score map ``(H, W)`` and its mask ``(H, W)``, 1 = anomalous.

        A higher score is more anomalous; -inf may stand where nothing was found. Raises
        ValueError where the shapes differ or a score is NaN or +inf.
        """
        scores, anomalous = checked(score_map, mask)
        if scores.ndim != 2:
            raise ValueError(f"expected a score map of shape (H, W), got {scores.shape}")
        self._add(NORMAL, scores[~anomalous])
        if anomalous.any():
            shares, regions = _region_shares(anomalous)
            self._add(ANOMALOUS, scores[anomalous], shares)
            self._regions += regions
        if self._max_levels and sum(map(len, self._keys)) > 4 * self._max_levels:
            self._merge()

    def compute(self) -> PixelMetrics:
        """Return the metrics of all frames so far.

        Raises ValueError where there was no anomalous or no normal pixel.
        """
        if not self._keys:
            raise ValueError("got no pixel: call update() with every frame first")
        self._merge()
        rows = self._rows[0]
        curve = curve_of_levels(_scores_of(self._keys[0]), rows[:, ANOMALOUS], rows[:, NORMAL])
        pro = sum_from_top(rows[:, REGION_SHARE]) / self._regions
        merged = rows[::-1, MERGED] > 0
        limit = self._fpr_limit
        f1_max, f1_max_threshold = curve.f1_max()
        return PixelMetrics(
            auroc=curve.auroc,
            average_precision=curve.average_precision,
            f1_max=f1_max,
            f1_max_threshold=f1_max_threshold,
            aupro=_area_up_to(curve.fpr, pro, limit),
            auroc_error=_area_error(curve.fpr, curve.tpr, merged, 1.0),
            aupro_error=_area_error(curve.fpr, pro, merged, limit),
            fpr_limit=limit,
            curve=curve,
            pro=pro,
            regions=self._regions,
        )

    def _add(
        self, column: int, scores: NDArray[np.floating], shares: FloatArray | None = None
    ) -> None:
        """Count pixels ``(P,)`` of one class; shares ``(P,)``: of its region, that each one is."""
        if not scores.size:
            return
        if shares is None:  # return_inverse needs a slower sort
            levels, counts = np.unique(scores, return_counts=True)
        else:
            levels, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
        rows: FloatArray = np.zeros((len(levels), 4))
        rows[:, column] = counts
        if shares is not None:
            rows[:, REGION_SHARE] = np.bincount(inverse, weights=shares)
        keys, rows = _group(_keys_of(levels), rows, self._dropped)
        self._keys.append(keys)
        self._rows.append(rows)

    def _merge(self) -> None:
        """Make one histogram of what was added, of at most `max_levels` levels."""
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        order = np.argsort(keys, kind="stable")  # fast on the sorted runs that these are
        keys, rows = _group(keys[order], rows[order], self._dropped)
        if self._max_levels and len(keys) > self._max_levels:
            self._dropped = _bits_to_drop(keys, self._max_levels)
            keys, rows = _group(keys, rows, self._dropped)
        self._keys, self._rows = [keys], [rows]


def pixel_metrics(
    score_maps: Sequence[ArrayLike], masks: Sequence[ArrayLike], *, fpr_limit: float = 0.3
) -> PixelMetrics:
    """Return exact pixel metrics of score maps ``(H, W)`` and masks ``(H, W)``, 1 = anomalous.

    Raises ValueError as `PixelAccumulator` does.
    """
    accumulator = PixelAccumulator(max_levels=None, fpr_limit=fpr_limit)
    for score_map, mask in zip(score_maps, masks, strict=True):
        accumulator.update(score_map, mask)
    return accumulator.compute()


def _region_shares(anomalous: BoolArray) -> tuple[FloatArray, int]:
    """Return, for each anomalous pixel ``(P,)``, 1 / pixels of its region; and the region count."""
    labels, regions = ndimage.label(anomalous, EIGHT_CONNECTED)
    regions_of_pixels = labels[anomalous]
    return 1 / np.bincount(regions_of_pixels)[regions_of_pixels], regions


def _keys_of(scores: NDArray[np.floating]) -> KeyArray:
    """Return unsigned integers in the order of `scores`, close ones alike but for low bits."""
    bits = scores.astype(np.float64).view(np.uint64)
    # Negation (modulo 2^64) turns the order of the negative ones and makes -0.0 the same as 0.0.
    return np.where(bits & SIGN_BIT, -bits, bits | SIGN_BIT)


def _scores_of(keys: KeyArray) -> FloatArray:
    """Return the scores of `keys`, the inverse of _keys_of."""
    return np.where(keys & SIGN_BIT, keys ^ SIGN_BIT, -keys).view(np.float64)


def _group(keys: KeyArray, rows: FloatArray, dropped: np.uint64) -> tuple[KeyArray, FloatArray]:
    """Return sorted keys without `dropped` bits and repeats ``(L,)``, and their summed rows."""
    rows[:, MERGED] += (keys & dropped) != 0
    keys = keys & ~dropped
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return keys[starts], np.add.reduceat(rows, starts, axis=0)


def _bits_to_drop(keys: KeyArray, max_levels: int) -> np.uint64:
    """Return the mask of the fewest low bits without which sorted `keys` fall to `max_levels`."""
    # Neighbours stay apart as long as the highest bit in which they differ is kept.
    highest_difference = np.frexp((keys[1:] ^ keys[:-1]).astype(np.float64))[1]
    kept_apart = np.cumsum(np.bincount(highest_difference, minlength=65)[::-1])[::-1]
    bits = int(np.argmax(1 + kept_apart[1:] <= max_levels))
    return np.uint64((1 << bits) - 1)


def _area_up_to(fpr: FloatArray, rate: FloatArray, limit: float) -> float:
    """Return the area under `rate` over `fpr` from 0 to `limit`, divided by `limit`."""
    inside = int(np.searchsorted(fpr, limit, side="right"))
    fpr_inside = np.append(fpr[:inside], limit)
    rate_inside = np.append(rate[:inside], np.interp(limit, fpr, rate))
    return float(np.trapezoid(rate_inside, fpr_inside)) / limit


def _area_error(fpr: FloatArray, rate: FloatArray, merged: BoolArray, limit: float) -> float:
    """Bound the error of the area up to `limit`: the rectangles that merged levels leave open."""
    rectangles = np.diff(np.minimum(fpr, limit)) * np.diff(rate)
    return float(np.sum(rectangles[merged])) / limit
