"""Frame-level metrics: one score and one label a frame, over all clips of a test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tao_anomaly.metrics.score_curve import ScoreCurve, checked, score_curve


@dataclass(frozen=True)
class FrameMetrics:
    """Frame-level results, all 0 .. 1.

    micro_auc: AUROC over the frames of all clips together. macro_auc: mean of the clips' own AUROC,
    over the clips that hold both classes; NaN if none does. clip_auc: those AUROCs by clip.
    excluded_clips: the clips of one class, left out of macro_auc (some authors count them, with
    dummy frames added: not comparable). average_precision, pr_auc (trapezoids), eer: of `curve`,
    the curve over all frames together.
    """

    micro_auc: float
    macro_auc: float
    average_precision: float
    pr_auc: float
    eer: float
    clip_auc: dict[str, float]
    excluded_clips: tuple[str, ...]
    curve: ScoreCurve


def frame_metrics(scores: Mapping[str, ArrayLike], labels: Mapping[str, ArrayLike]) -> FrameMetrics:
    """Return frame-level metrics of scores ``(F,)`` and labels ``(F,)`` by clip, 1 = anomalous.

    Scores are compared over clips as they are: no per-clip scaling. Raises ValueError where clips
    or lengths differ, a score is NaN or +inf, or all frames are of one class.
    """
    if scores.keys() != labels.keys():
        differing = sorted(scores.keys() ^ labels.keys())
        raise ValueError(f"scores and labels must name the same clips, these differ: {differing}")
    clips = {}
    for name in scores:
        try:
            clips[name] = checked(scores[name], labels[name])
        except ValueError as error:
            raise ValueError(f"clip {name}: {error}") from error
    if not clips:
        raise ValueError("got no clip")
    curve = score_curve(*(np.concatenate(parts) for parts in zip(*clips.values(), strict=True)))
    clip_auc = {
        name: score_curve(clip_scores, anomalous).auroc
        for name, (clip_scores, anomalous) in clips.items()
        if anomalous.any() and not anomalous.all()
    }
    return FrameMetrics(
        micro_auc=curve.auroc,
        macro_auc=float(np.mean(list(clip_auc.values()))) if clip_auc else float("nan"),
        average_precision=curve.average_precision,
        pr_auc=curve.pr_auc,
        eer=curve.eer,
        clip_auc=clip_auc,
        excluded_clips=tuple(name for name in clips if name not in clip_auc),
        curve=curve,
    )
