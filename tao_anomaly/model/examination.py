"""What the fixed passes of the scorer find in windows, and the terms made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tao_anomaly.model.config import ScoringConfig
from tao_anomaly.model.losses import CUES, value_errors
from tao_anomaly.model.masking import Masks
from tao_anomaly.model.memory import dissimilarity
from tao_anomaly.model.temporal_mae import WindowTensors
from tao_anomaly.scoring.cues import check_cues
from tao_anomaly.structures import FloatArray

PARTS = ("step_appearance", "step_motion", "cue_appearance", "cue_motion")
"""step_*: hidden steps, told by the other steps. cue_*: a whole cue, told by the other cue, place
and size."""

_LARGEST = 20.0  # deviations; keeps exp finite


@dataclass(frozen=True)
class Examination:
    """What the passes over M windows found.

    parts: for each of PARTS the error ``(M, K)`` of each of its K values, the mean over the steps
    and passes that hid it; without the cue parts where there were no cue passes. steps: for each of
    them the error ``(M, T)`` of each step, the mean over its values and the passes that hid it, NaN
    where none did. embedding ``(M, E)``: mean over the time passes, length 1.
    """

    parts: dict[str, FloatArray]
    steps: dict[str, FloatArray]
    embedding: FloatArray


@dataclass(frozen=True)
class NormalErrors:
    """Mean and deviation ``(K,)`` of each value's error on training windows, by part."""

    mean: dict[str, FloatArray]
    std: dict[str, FloatArray]

    @staticmethod
    def fit(examinations: list[Examination]) -> NormalErrors:
        """Measure the errors of normal windows."""
        parts = {
            name: np.concatenate([seen.parts[name] for seen in examinations]).astype(np.float64)
            for name in examinations[0].parts
        }
        return NormalErrors(
            {name: errors.mean(axis=0).astype(np.float32) for name, errors in parts.items()},
            {
                name: np.maximum(errors.std(axis=0), 1e-6).astype(np.float32)
                for name, errors in parts.items()
            },
        )

    def tensors(self) -> dict[str, FloatArray]:
        """Return the arrays by name, for an artifact."""
        named = (("mean", self.mean), ("std", self.std))
        return {f"{part}.{kind}": v for kind, group in named for part, v in group.items()}

    def stand_out(self, part: str, errors: FloatArray) -> FloatArray:
        """Return how far the errors ``(M, K)`` of a part stand out, ``(M,)``: a soft maximum.

        Each value's error is counted in its own normal deviations, and ``ln mean exp`` lets one
        that is far off speak for all. A plain mean drowns a steady value, such as the speed, in the
        tails of unsteady ones.
        """
        deviations = (errors - self.mean[part]) / self.std[part]
        capped = np.clip(deviations, -_LARGEST, _LARGEST).astype(np.float64)
        return np.log(np.exp(capped).mean(axis=1)).astype(np.float32)


Term = Callable[[Examination, NormalErrors, FloatArray], FloatArray]


def _part(name: str) -> Term:
    return lambda seen, normal, memory: normal.stand_out(name, seen.parts[name])


def _recon(seen: Examination, normal: NormalErrors, memory: FloatArray) -> FloatArray:
    return np.mean([normal.stand_out(name, seen.parts[name]) for name in seen.parts], axis=0)


TERMS: dict[str, Term] = {
    **{name: _part(name) for name in PARTS},
    "recon": _recon,
    "dissimilarity": lambda seen, normal, memory: dissimilarity(seen.embedding, memory),
}
"""Raw terms ``(M,)`` by name; recon is the mean of the parts."""


def examine(
    outputs: dict[str, Tensor], windows: WindowTensors, masks: Masks, scoring: ScoringConfig
) -> Examination:
    """Summarise the outputs for M windows, repeated for each of P masks ``(P * M, ...)``.

    The passes are those of ``partition_masks``.
    """
    passes = scoring.time_passes + (2 if scoring.cue_passes else 0)
    count = len(windows) // passes
    time = slice(0, scoring.time_passes)
    # the pass that hides all of a cue: appearance in the last, motion in the one before
    whole = {"appearance": slice(passes - 1, passes), "motion": slice(passes - 2, passes - 1)}
    errors = value_errors(outputs, windows)
    parts: dict[str, Tensor] = {}
    steps: dict[str, Tensor] = {}
    for i, cue in enumerate(CUES):
        error = errors[cue].view(passes, count, *errors[cue].shape[1:])
        hidden = masks.hidden[..., i].view(passes, count, -1, 1)
        told_by = {f"step_{cue}": time} | ({f"cue_{cue}": whole[cue]} if scoring.cue_passes else {})
        for part, which in told_by.items():
            parts[part] = _mean_where(error[which], hidden[which], (0, 2))
            steps[part] = _mean_where(error[which], hidden[which], (0,)).mean(dim=-1)
    embedding = outputs["embedding"].view(passes, count, -1)[time].mean(dim=0)
    return Examination(
        parts={name: value.numpy() for name, value in parts.items()},
        steps={name: value.numpy() for name, value in steps.items()},
        embedding=torch.nn.functional.normalize(embedding, dim=-1).numpy(),
    )


def check_scoring(scoring: ScoringConfig) -> None:
    """Raise ValueError for a term there is not, or another number of weights than of terms."""
    unknown = sorted(set(scoring.terms) - set(TERMS))
    if unknown:
        raise ValueError(f"scoring.terms: got {unknown}, expected some of {list(TERMS)}")
    if not scoring.cue_passes and any(name.startswith("cue_") for name in scoring.terms):
        raise ValueError("scoring.terms: got cue terms without passes for them; set cue_passes")
    check_cues(scoring.cues)
    for weights, terms in (("weights", "terms"), ("cue_weights", "cues")):
        got, wanted = len(getattr(scoring, weights)), len(getattr(scoring, terms))
        if got != wanted:
            raise ValueError(f"scoring.{weights}: got {got} weights for {wanted} {terms}")


def part_names(scoring: ScoringConfig) -> Iterator[str]:
    """Yield the PARTS that the passes of a scorer give."""
    yield from (name for name in PARTS if scoring.cue_passes or not name.startswith("cue_"))


def _mean_where(errors: Tensor, hidden: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the mean of errors ``(P, M, T, K)`` over `dims` where hidden, NaN where never."""
    return torch.where(hidden, errors, 0.0).sum(dim=dims) / hidden.sum(dim=dims)
