"""Losses of the temporal MAE, each a mean over what it applies to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tao_anomaly.model.masking import Masks
from tao_anomaly.model.registry import Registry
from tao_anomaly.model.temporal_mae import WindowTensors

CUES = ("appearance", "motion")


@dataclass(frozen=True)
class Targets:
    """What the losses compare with, for a batch of B windows.

    masks: of the batch. track ``(B,)`` int64: windows of one track share a number. positive
    ``(B,)`` int64: the batch's window that is adjacent in the same track, -1 where there is none.
    future ``(B, F, C + K)`` and future_valid ``(B, F)``: observations after the window.
    temperature: of the contrastive loss.
    """

    windows: WindowTensors
    masks: Masks
    track: Tensor
    positive: Tensor
    future: Tensor
    future_valid: Tensor
    temperature: float

    def to(self, device: torch.device) -> Targets:
        """Return the targets on a device."""
        return Targets(
            self.windows.to(device),
            self.masks.to(device),
            self.track.to(device),
            self.positive.to(device),
            self.future.to(device),
            self.future_valid.to(device),
            self.temperature,
        )


Loss = Callable[[dict[str, Tensor], Targets], Tensor]

LOSSES: Registry[Loss] = Registry("loss")
"""Losses by name: called with (outputs of the heads, targets), give a scalar."""


def value_errors(outputs: dict[str, Tensor], windows: WindowTensors) -> dict[str, Tensor]:
    """Return the error ``(B, T, K)`` of each rebuilt value, by cue.

    The squared error; with predicted variances the Gaussian negative log likelihood without its
    constant, ``(error ** 2 / variance + log variance) / 2``.
    """
    errors = {}
    for cue in CUES:
        squared = (outputs[cue].float() - getattr(windows, cue)).square()
        log_variance = outputs.get(f"{cue}_log_variance")
        if log_variance is not None:
            log_variance = log_variance.float()
            squared = (squared * torch.exp(-log_variance) + log_variance) / 2
        errors[cue] = squared
    return errors


def token_errors(outputs: dict[str, Tensor], windows: WindowTensors) -> Tensor:
    """Return the mean error ``(B, T, 2)`` of each rebuilt appearance (0) and motion (1) token."""
    errors = value_errors(outputs, windows)
    return torch.stack([errors[cue].mean(dim=-1) for cue in CUES], dim=-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` where `mask` is True, 0 where it never is."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


@LOSSES.register("reconstruction")
def reconstruction_loss(outputs: dict[str, Tensor], targets: Targets) -> Tensor:
    """Mean error of the hidden appearance tokens and of the hidden motion tokens, averaged.

    Both cues weigh the same however many tokens or dimensions they have. Visible and invalid steps
    do not count. With the head `gaussian` it is the likelihood of ``token_errors``.
    """
    errors = token_errors(outputs, targets.windows)
    hidden = targets.masks.hidden
    cues = [masked_mean(errors[..., i], hidden[..., i]) for i in range(2)]
    return torch.stack(cues).mean()


@LOSSES.register("contrastive")
def contrastive_loss(outputs: dict[str, Tensor], targets: Targets) -> Tensor:
    """InfoNCE (van den Oord et al. 2018): the adjacent window of the track against other tracks.

    Other windows of the same track are never negatives: they show the same object. Windows without
    a positive in the batch serve as negatives only.
    """
    embedding = outputs["embedding"]
    similarity = embedding @ embedding.T / targets.temperature
    own = targets.track[:, None] == targets.track[None]
    positive = F.one_hot(targets.positive.clamp(min=0), len(embedding)).bool()
    logits = similarity.masked_fill(own & ~positive, float("-inf"))
    anchors = targets.positive >= 0
    loss = F.cross_entropy(logits[anchors], targets.positive[anchors], reduction="sum")
    return loss / anchors.sum().clamp(min=1)


@LOSSES.register("forecast")
def forecast_loss(outputs: dict[str, Tensor], targets: Targets) -> Tensor:
    """Mean squared error over the observed steps that follow the window."""
    squared = (outputs["forecast"].float() - targets.future).square().mean(dim=-1)
    return masked_mean(squared, targets.future_valid)


def total_loss(
    outputs: dict[str, Tensor], targets: Targets, weights: dict[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the named losses and each of them apart, unweighted.

    ValueError naming the loss whose head is missing.
    """
    parts = {}
    for name in weights:
        try:
            parts[name] = LOSSES[name](outputs, targets)
        except KeyError as missing:
            raise ValueError(
                f"loss {name!r} needs the output {missing}, but the heads give"
                f" {sorted(outputs)}: add its head to model.outputs or drop the loss"
            ) from missing
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return total, parts
