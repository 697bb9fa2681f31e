"""Pre-norm transformer blocks and sinusoidal positions by time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Pre-norm self-attention and MLP (Vaswani et al. 2017; pre-norm after Xiong et al. 2020)."""

    def __init__(self, *, width: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}: change one of them")
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, mlp_ratio * width)
        self.mlp_out = nn.Linear(mlp_ratio * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Map x ``(B, L, W)``; keys ``(B, 1, 1, L)``: True where a token may be attended to."""
        x = x + self.dropout(self._attention(self.attention_norm(x), keys))
        return x + self.dropout(self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x)))))

    def _attention(self, x: Tensor, keys: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.query_key_value(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        return self.attention_out(mixed.transpose(1, 2).reshape(batch, length, width))


class Transformer(nn.Module):
    """Blocks and a final norm."""

    def __init__(
        self, *, width: int, depth: int, heads: int, mlp_ratio: int, dropout: float
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, mlp_ratio=mlp_ratio, dropout=dropout)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map x ``(B, L, W)``; valid ``(B, L)``: True where a token may be attended to."""
        keys = valid[:, None, None, :]
        for block in self.blocks:
            x = block(x, keys)
        return self.norm(x)


class TimeEncoding(nn.Module):
    """Sinusoidal positions of the time in seconds, so that a gap in a window is a gap."""

    frequency: Tensor

    def __init__(self, *, width: int, unit: float) -> None:
        super().__init__()
        half = width // 2
        frequency = torch.exp(-math.log(1e3) * torch.arange(half) / half) / unit
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, times: Tensor) -> Tensor:
        """Encode seconds ``(B, T)`` as ``(B, T, W)``: sines, then cosines, fastest first."""
        phase = times[..., None] * self.frequency
        return torch.cat((phase.sin(), phase.cos()), dim=-1)
