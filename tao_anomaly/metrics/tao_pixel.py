"""Pixel metrics as the public TAO evaluation code computes them, to compare with its table only.

They skip normal frames by ground truth, so false alarms on normal frames cost nothing; `pixel` has
the metrics over all frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tao_anomaly.metrics.score_curve import checked, score_curve

F1_THRESHOLD = 0.5  # of the frame's highest score, by which the TAO code divides


@dataclass(frozen=True)
class TaoPixelMetrics:
    """Means over the frames with ground truth, all 0 .. 1.

    pr_auc: area under precision over recall by trapezoids, which the TAO code names AUPRO. f1: at
    score > 0.5 of the frame's highest. frames: how many frames were averaged.
    """

    auroc: float
    average_precision: float
    pr_auc: float
    f1: float
    frames: int


class TaoPixelAccumulator:
    """The TAO variants of frames given one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float]] = []

    def update(self, score_map: ArrayLike, mask: ArrayLike) -> None:
        """Add a frame: its score map ``(H, W)`` and its mask ``(H, W)``, 1 = anomalous.

        A frame whose mask is empty is skipped; a score map of zeros (an empty prediction) counts 0
        in all four. Raises ValueError where the mask has no normal pixel.
        """
        scores, anomalous = checked(score_map, mask)
        if anomalous.any():
            self._rows.append(_frame_row(scores.ravel(), anomalous.ravel()))

    def compute(self) -> TaoPixelMetrics:
        """Return the means so far; raises ValueError where no mask had an anomalous pixel."""
        if not self._rows:
            raise ValueError("no mask has an anomalous pixel: the TAO variants are undefined")
        auroc, average_precision, pr_auc, f1 = np.mean(self._rows, axis=0).tolist()
        return TaoPixelMetrics(auroc, average_precision, pr_auc, f1, frames=len(self._rows))


def tao_pixel_metrics(
    score_maps: Sequence[ArrayLike], masks: Sequence[ArrayLike]
) -> TaoPixelMetrics:
    """Return the TAO variants of score maps ``(H, W)`` and masks ``(H, W)``, 1 = anomalous.

    Frames count as `TaoPixelAccumulator.update` says; its errors name the frame.
    """
    accumulator = TaoPixelAccumulator()
    for index, (score_map, mask) in enumerate(zip(score_maps, masks, strict=True)):
        try:
            accumulator.update(score_map, mask)
        except ValueError as error:
            raise ValueError(f"frame {index}: {error}") from error
    return accumulator.compute()


def _frame_row(scores: np.ndarray, anomalous: np.ndarray) -> tuple[float, float, float, float]:
    if not scores.any():
        return 0.0, 0.0, 0.0, 0.0
    curve = score_curve(scores, anomalous)
    f1 = curve.f1[np.flatnonzero(curve.thresholds > F1_THRESHOLD * scores.max())[-1]]
    return curve.auroc, curve.average_precision, curve.pr_auc, float(f1)
