"""How a RoI becomes an appearance token: its mean (GAP), learned attention, or both.

What the model rebuilds is always the frozen GAP feature: a learned target would collapse.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tao_anomaly.model.registry import Registry

POOLINGS: Registry[Callable[[int, int], nn.Module]] = Registry("pooling")
"""Pooling by name: called with (components C, width), gives a module that maps
``(gap (B, T, C), grid (B, T, cells, C) or None)`` to tokens ``(B, T, width)``. A class attribute
``needs_grid`` that is True asks for RoI grids."""


def needs_grid(name: str) -> bool:
    """Tell whether a pooling reads RoI grids; ValueError where there is no such pooling."""
    return bool(getattr(POOLINGS[name], "needs_grid", False))


@POOLINGS.register("gap")
class GapPooling(nn.Module):
    """Linear map of the mean-pooled feature."""

    needs_grid = False

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(components, width)

    def forward(self, gap: Tensor, grid: Tensor | None) -> Tensor:
        """Return tokens of the GAP feature alone."""
        return self.project(gap)


@POOLINGS.register("attention")
class AttentionPooling(nn.Module):
    """One learned query attends to the cells of the RoI grid."""

    needs_grid = True

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(components))  # starts as the plain mean
        self.key = nn.Linear(components, components, bias=False)
        self.project = nn.Linear(components, width)

    def forward(self, gap: Tensor, grid: Tensor | None) -> Tensor:
        """Return tokens of the attended grid; ValueError without one."""
        if grid is None:
            raise ValueError(
                "attention pooling: got features without a RoI grid; extract them with"
                " features.grid=3 or choose model.pooling=gap"
            )
        query = self.query / grid.shape[-1] ** 0.5
        scores = (self.key(grid) * query).sum(dim=-1)  # OpenVINO fails on matrix times vector
        pooled = (scores.softmax(dim=-1)[..., None] * grid).sum(dim=-2)
        return self.project(pooled)


@POOLINGS.register("hybrid")
class HybridPooling(nn.Module):
    """Sum of the GAP token and the attention token."""

    needs_grid = True

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        self.gap = GapPooling(components, width)
        self.attention = AttentionPooling(components, width)

    def forward(self, gap: Tensor, grid: Tensor | None) -> Tensor:
        """Return the sum of both tokens; ValueError without a grid."""
        return self.gap(gap, grid) + self.attention(gap, grid)
