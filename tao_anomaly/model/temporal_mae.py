"""Masked autoencoder over the appearance and motion of a track (after He et al., CVPR 2022).

Each step of a window is two tokens, appearance and motion; one more token holds place and size.
The encoder sees the visible tokens only; a light decoder rebuilds the hidden ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tao_anomaly.model.config import ModelConfig
from tao_anomaly.model.heads import HEADS, FeatureShape, Hidden
from tao_anomaly.model.interpolation import linear_interpolation, visible_mean
from tao_anomaly.model.masking import Masks
from tao_anomaly.model.pooling import POOLINGS
from tao_anomaly.model.transformer import TimeEncoding, Transformer


@dataclass(frozen=True)
class WindowTensors:
    """Standardised windows.

    appearance ``(B, T, C)``, motion ``(B, T, K)``, place ``(B, P)``, times ``(B, T)`` in seconds
    relative to the newest step, valid ``(B, T)``: True where observed. grid ``(B, T, cells, C)``:
    the RoI grid, None where the pooling needs none. Values of invalid steps are finite.
    """

    appearance: Tensor
    motion: Tensor
    place: Tensor
    times: Tensor
    valid: Tensor
    grid: Tensor | None = None

    def __len__(self) -> int:
        return len(self.valid)

    def repeat(self, times: int) -> WindowTensors:
        """Return the windows `times` times, one copy after the other."""
        grid = None if self.grid is None else self.grid.repeat(times, 1, 1, 1)
        return WindowTensors(
            self.appearance.repeat(times, 1, 1),
            self.motion.repeat(times, 1, 1),
            self.place.repeat(times, 1),
            self.times.repeat(times, 1),
            self.valid.repeat(times, 1),
            grid,
        )

    def to(self, device: torch.device) -> WindowTensors:
        """Return the windows on a device."""
        grid = None if self.grid is None else self.grid.to(device)
        return WindowTensors(
            self.appearance.to(device),
            self.motion.to(device),
            self.place.to(device),
            self.times.to(device),
            self.valid.to(device),
            grid,
        )


class TemporalMAE(nn.Module):
    """Embed, encode the visible tokens, decode all tokens, apply the heads."""

    def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
        super().__init__()
        width, narrow = config.d_model, config.decoder_dim
        self.appearance_in = POOLINGS[config.pooling](shape.appearance, width)
        self.motion_in = nn.Linear(shape.motion, width)
        self.place_in = nn.Linear(shape.place, width)
        self.kind = nn.Parameter(torch.randn(2, width) * 0.02)  # appearance, motion
        self.position = TimeEncoding(width=width, unit=config.time_unit)
        self.encoder = Transformer(
            width=width,
            depth=config.depth,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            dropout=config.dropout,
        )
        self.to_decoder = nn.Linear(width, narrow)
        self.guess_in = nn.ModuleDict(
            {
                "appearance": nn.Linear(2 * shape.appearance, narrow),
                "motion": nn.Linear(2 * shape.motion, narrow),
            }
        )
        self.mask_token = nn.Parameter(torch.randn(2, narrow) * 0.02)  # appearance, motion
        self.decoder_position = TimeEncoding(width=narrow, unit=config.time_unit)
        self.decoder = Transformer(
            width=narrow,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
            mlp_ratio=config.mlp_ratio,
            dropout=config.dropout,
        )
        self.apply(_initialise)
        self.heads = nn.ModuleDict({name: HEADS[name](config, shape) for name in config.outputs})

    def forward(self, windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
        """Return the heads' tensors: one mask a window, B windows."""
        latent, latent_valid = self.encode(windows, masks)
        guesses = guess(windows, masks)
        decoded = self.decode(latent, windows, masks, guesses)
        hidden = Hidden(latent, latent_valid, decoded, guesses)
        outputs: dict[str, Tensor] = {}
        for head in self.heads.values():
            outputs.update(head(hidden))
        return outputs

    def encode(self, windows: WindowTensors, masks: Masks) -> tuple[Tensor, Tensor]:
        """Return the encoded place and visible tokens ``(B, 1 + V, d)`` and which are in use."""
        position = self.position(windows.times)
        appearance = self.appearance_in(windows.appearance, windows.grid)
        motion = self.motion_in(windows.motion)
        cues = torch.cat(
            (appearance + position + self.kind[0], motion + position + self.kind[1]), dim=1
        )
        index = masks.visible[..., None].expand(-1, -1, cues.shape[-1])
        place = self.place_in(windows.place)[:, None]
        tokens = torch.cat((place, cues.gather(1, index)), dim=1)
        always = torch.ones_like(masks.visible_valid[:, :1])
        valid = torch.cat((always, masks.visible_valid), dim=1)
        return self.encoder(tokens, valid), valid

    def decode(
        self, latent: Tensor, windows: WindowTensors, masks: Masks, guesses: dict[str, Tensor]
    ) -> Tensor:
        """Return the decoder's output ``(B, T, 2, e)`` for every step and cue."""
        batch, steps = windows.valid.shape
        narrow = self.to_decoder(latent)
        place, visible = narrow[:, :1], narrow[:, 1:]
        spare = 2 * steps  # a row that takes the unused slots
        tokens = self.mask_token.repeat_interleave(steps, dim=0)
        tokens = torch.cat((tokens, tokens[:1])).to(narrow.dtype).expand(batch, -1, -1)
        target = torch.where(masks.visible_valid, masks.visible, spare)
        index = target[..., None].expand(-1, -1, tokens.shape[-1])
        tokens = tokens.scatter(1, index, visible)[:, :spare]
        told = [self.guess_in[cue](guesses[cue].flatten(2)) for cue in ("appearance", "motion")]
        tokens = tokens + torch.cat(told, dim=1)
        tokens = tokens + self.decoder_position(windows.times).repeat(1, 2, 1)
        valid = torch.cat((torch.ones_like(windows.valid[:, :1]), windows.valid.repeat(1, 2)), 1)
        decoded = self.decoder(torch.cat((place, tokens), dim=1), valid)[:, 1:]
        return decoded.view(batch, 2, steps, -1).transpose(1, 2)


def guess(windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
    """Return the guesses of ``Hidden``: what needs no learning, the decoder need not learn."""
    shown = masks.shown(windows.valid.shape[1])
    guesses = {}
    for i, cue in enumerate(("appearance", "motion")):
        values, visible = getattr(windows, cue), shown[..., i]
        line = linear_interpolation(values, windows.times, visible)
        guesses[cue] = torch.stack((line, visible_mean(values, visible)), dim=2)
    return guesses


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
