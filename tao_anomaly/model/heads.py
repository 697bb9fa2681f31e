"""Output heads of the temporal MAE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tao_anomaly.model.config import ModelConfig
from tao_anomaly.model.registry import Registry

LOG_VARIANCE_LIMIT = 7.0


@dataclass(frozen=True)
class FeatureShape:
    """Sizes of a window's parts: appearance components C, motion K, place P."""

    appearance: int
    motion: int
    place: int


@dataclass(frozen=True)
class Hidden:
    """What the heads read.

    latent ``(B, 1 + V, d)``: encoded place token and visible tokens. latent_valid ``(B, 1 + V)``.
    decoded ``(B, T, 2, e)``: decoder output of each step's appearance (0) and motion (1).
    guesses: "appearance" ``(B, T, 2, C)`` and "motion" ``(B, T, 2, K)``, the linear interpolation
    (0) and the mean (1) of the visible steps.
    """

    latent: Tensor
    latent_valid: Tensor
    decoded: Tensor
    guesses: dict[str, Tensor]

    def pooled(self) -> Tensor:
        """Return the mean ``(B, d)`` of the valid encoded tokens."""
        weight = self.latent_valid[..., None].to(self.latent.dtype)
        return (self.latent * weight).sum(dim=1) / weight.sum(dim=1)


HEADS: Registry[Callable[[ModelConfig, FeatureShape], nn.Module]] = Registry("output head")
"""Heads by name: called with (config, shape), gives a module that maps Hidden to named tensors."""


def mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    """Return Linear, GELU, Linear."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))


class RebuiltCue(nn.Module):
    """Values of one cue: a learned blend of the guesses, corrected by the decoder's output.

    It begins as linear interpolation, which a transformer takes thousands of steps to find.
    """

    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.correction = mlp(width, width, values)
        for parameter in self.correction[-1].parameters():
            nn.init.zeros_(parameter)
        self.blend = nn.Parameter(torch.tensor([1.0, 0.0])[:, None].repeat(1, values))

    def forward(self, decoded: Tensor, guesses: Tensor) -> Tensor:
        """Map decoded ``(B, T, e)`` and guesses ``(B, T, 2, K)`` to values ``(B, T, K)``."""
        return self.correction(decoded) + (guesses * self.blend).sum(dim=2)


@HEADS.register("reconstruction")
class ReconstructionHead(nn.Module):
    """Rebuilt tokens: ``appearance (B, T, C)`` and ``motion (B, T, K)``."""

    def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
        super().__init__()
        self.appearance = RebuiltCue(config.decoder_dim, shape.appearance)
        self.motion = RebuiltCue(config.decoder_dim, shape.motion)

    def forward(self, hidden: Hidden) -> dict[str, Tensor]:
        """Return the rebuilt tokens of every step."""
        decoded, guesses = hidden.decoded, hidden.guesses
        return {
            "appearance": self.appearance(decoded[:, :, 0], guesses["appearance"]),
            "motion": self.motion(decoded[:, :, 1], guesses["motion"]),
        }


@HEADS.register("gaussian")
class GaussianHead(nn.Module):
    """As `reconstruction`, with the natural log of a predicted variance beside each value."""

    def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
        super().__init__()
        width = config.decoder_dim
        self.mean = ReconstructionHead(config, shape)
        self.appearance = mlp(width, width, shape.appearance)
        self.motion = mlp(width, width, shape.motion)

    def forward(self, hidden: Hidden) -> dict[str, Tensor]:
        """Return means and log variances of every step."""
        decoded = hidden.decoded
        variances = {
            "appearance_log_variance": self.appearance(decoded[:, :, 0]),
            "motion_log_variance": self.motion(decoded[:, :, 1]),
        }
        limit = LOG_VARIANCE_LIMIT
        return self.mean(hidden) | {k: v.clamp(-limit, limit) for k, v in variances.items()}


@HEADS.register("contrastive")
class ContrastiveHead(nn.Module):
    """``embedding (B, E)`` of length 1: a projection of the visible tokens' mean."""

    def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
        super().__init__()
        self.project = mlp(config.d_model, config.d_model, config.embedding_dim)

    def forward(self, hidden: Hidden) -> dict[str, Tensor]:
        """Return the point of the window on the unit sphere."""
        return {"embedding": F.normalize(self.project(hidden.pooled()).float(), dim=-1)}


@HEADS.register("forecast")
class ForecastHead(nn.Module):
    """``forecast (B, F, C + K)``: appearance and motion of the next F observations."""

    def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
        super().__init__()
        self.steps = config.forecast_steps
        out = self.steps * (shape.appearance + shape.motion)
        self.project = mlp(config.d_model, config.d_model, out)

    def forward(self, hidden: Hidden) -> dict[str, Tensor]:
        """Return the predicted observations, nearest first."""
        flat = self.project(hidden.pooled())
        return {"forecast": flat.view(flat.shape[0], self.steps, -1)}
