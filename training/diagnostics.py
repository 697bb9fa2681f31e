"""What shows in time that a model learns, or collapses."""

from __future__ import annotations

import torch
from torch import Tensor

from tao_anomaly.model.masking import Masks
from tao_anomaly.model.temporal_mae import WindowTensors


def reconstruction_spread(
    outputs: dict[str, Tensor], windows: WindowTensors, masks: Masks
) -> dict[str, Tensor]:
    """Return, by cue, the deviation of the rebuilt hidden tokens over that of their targets.

    0: the model says the same of every window (collapsed, or nothing is predictable); 1: it varies
    as much as the data.
    """
    spreads = {}
    for i, cue in enumerate(("appearance", "motion")):
        hidden = masks.hidden[..., i]
        rebuilt, target = outputs[cue][hidden].float(), getattr(windows, cue)[hidden]
        spreads[f"{cue}_spread"] = rebuilt.std(dim=0).mean() / target.std(dim=0).mean()
    return spreads


def embedding_spread(embedding: Tensor) -> Tensor:
    """Return the deviation of unit embeddings ``(N, E)``: 1 evenly on the sphere, 0 collapsed."""
    return (1 - embedding.mean(dim=0).square().sum()).clamp(min=0).sqrt()


def spreads(outputs: dict[str, Tensor], windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
    """Return all that guards against collapse, of one batch."""
    with torch.no_grad():
        found = reconstruction_spread(outputs, windows, masks)
        if "embedding" in outputs:
            found["embedding_spread"] = embedding_spread(outputs["embedding"])
    return found
