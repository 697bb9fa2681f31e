"""One score threshold swept over labelled items: the counts, and the rates and areas they give.

Equal scores are one point of the curve. The definitions are those of scikit-learn's `roc_curve`,
`precision_recall_curve` and `average_precision_score`, computed here from counts, so that they also
serve a histogram of billions of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ScoreCurve:
    """Items at or above each threshold, from high to low thresholds.

    thresholds ``(K,)``: +inf, then every score that occurs, falling. true_positives,
    false_positives ``(K,)``: anomalous and normal items with a score >= the threshold. Raises
    ValueError where all items are of one class.
    """

    thresholds: FloatArray
    true_positives: FloatArray
    false_positives: FloatArray

    def __post_init__(self) -> None:
        anomalous, normal = self.true_positives[-1], self.false_positives[-1]
        if not (anomalous and normal):
            raise ValueError(
                f"got {anomalous:.0f} anomalous and {normal:.0f} normal items: "
                "a curve needs at least one of each"
            )

    @property
    def tpr(self) -> FloatArray:
        """True-positive rate, that is recall, ``(K,)``."""
        return self.true_positives / self.true_positives[-1]

    @property
    def fpr(self) -> FloatArray:
        """False-positive rate ``(K,)``."""
        return self.false_positives / self.false_positives[-1]

    @property
    def precision(self) -> FloatArray:
        """Precision ``(K,)``; 1 at the first point, where nothing is flagged."""
        flagged = self.true_positives + self.false_positives
        return np.divide(self.true_positives, flagged, out=np.ones_like(flagged), where=flagged > 0)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall ``(K,)``."""
        flagged = self.true_positives + self.false_positives
        return 2 * self.true_positives / (flagged + self.true_positives[-1])

    @property
    def auroc(self) -> float:
        """Area under tpr over fpr: how often an anomalous item outscores a normal one."""
        return float(np.trapezoid(self.tpr, self.fpr))

    @property
    def average_precision(self) -> float:
        """Precision summed over the steps of recall, without interpolation."""
        return float(np.sum(np.diff(self.tpr) * self.precision[1:]))

    @property
    def pr_auc(self) -> float:
        """Area under precision over recall by trapezoids, which flatters sparse curves."""
        return float(np.trapezoid(self.precision, self.tpr))

    @property
    def eer(self) -> float:
        """Equal error rate: fpr where fpr = 1 - tpr, between points on a straight line."""
        return float(np.interp(0.0, self.fpr + self.tpr - 1, self.fpr))

    def f1_max(self) -> tuple[float, float]:
        """Return the best F1 and its threshold. Chosen on test labels: an upper bound."""
        best = int(np.argmax(self.f1))
        return float(self.f1[best]), float(self.thresholds[best])


def score_curve(scores: ArrayLike, labels: ArrayLike) -> ScoreCurve:
    """Return the curve of scores ``(N,)`` and labels ``(N,)``, True or 1 where anomalous.

    A score may be -inf (nothing was found there), but not NaN or +inf. Raises ValueError.
    """
    checked_scores, anomalous = checked(scores, labels)
    if checked_scores.ndim != 1:
        raise ValueError(f"expected scores of shape (N,), got {checked_scores.shape}")
    levels, flagged = np.unique(checked_scores, return_counts=True)
    # A second sort of the anomalous ones is faster than the inverse of the first.
    found, counts = np.unique(checked_scores[anomalous], return_counts=True)
    true_positives = np.zeros_like(flagged)
    true_positives[np.searchsorted(levels, found)] = counts
    return curve_of_levels(levels, true_positives, flagged - true_positives)


def curve_of_levels(levels: FloatArray, anomalous: ArrayLike, normal: ArrayLike) -> ScoreCurve:
    """Return the curve of items counted by score: levels ``(L,)`` rising, counts ``(L,)``."""
    return ScoreCurve(
        thresholds=np.append(np.inf, levels[::-1]),
        true_positives=sum_from_top(anomalous),
        false_positives=sum_from_top(normal),
    )


def sum_from_top(counts: ArrayLike) -> FloatArray:
    """Return 0, then the sums of the last 1, 2, .. of `counts`."""
    return np.append(0.0, np.cumsum(np.asarray(counts, np.float64)[::-1]))


def checked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.floating], BoolArray]:
    """Return scores and labels as arrays of one shape, labels as bool, or raise ValueError."""
    values, marks = np.asarray(scores), np.asarray(labels)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if values.shape != marks.shape:
        raise ValueError(f"got scores of shape {values.shape} and labels of shape {marks.shape}")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise ValueError(
            "got a score that is NaN or +inf: give -inf, or the lowest score, where there is none"
        )
    if marks.dtype != np.bool_ and not ((marks == 0) | (marks == 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.unique(marks)[:5]}")
    return values, marks.astype(np.bool_)
