"""Which tokens the encoder sees: random masks in training, a fixed partition for scoring.

A window of T steps has 2T cue tokens: token ``t`` is the appearance and ``T + t`` the motion of
step t. Every mask shows the same number of slots, so that one batch mixes all kinds: a time mask
shows both cues of S steps, a cue mask one cue of 2S steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

APPEARANCE, MOTION_CUE = 0, 1


@dataclass(frozen=True)
class Masks:
    """What is visible and what is to be rebuilt.

    visible ``(B, V)`` int64: tokens the encoder sees. visible_valid ``(B, V)``: False where a slot
    is unused. hidden ``(B, T, 2)``: True where a valid step's appearance (0) or motion (1) is not
    visible.
    """

    visible: Tensor
    visible_valid: Tensor
    hidden: Tensor

    def shown(self, steps: int) -> Tensor:
        """Return which steps' appearance (0) and motion (1) are visible, ``(B, T, 2)``."""
        tokens = torch.zeros(
            self.visible.shape[0], 2 * steps + 1, dtype=torch.bool, device=self.visible.device
        )
        slots = torch.where(self.visible_valid, self.visible, 2 * steps)  # unused: the spare last
        tokens = tokens.scatter(1, slots, self.visible_valid)
        return tokens[:, : 2 * steps].view(-1, 2, steps).transpose(1, 2)

    def select(self, index: Tensor) -> Masks:
        """Return the masks of some windows."""
        return Masks(self.visible[index], self.visible_valid[index], self.hidden[index])

    def to(self, device: torch.device) -> Masks:
        """Return the masks on a device."""
        return Masks(self.visible.to(device), self.visible_valid.to(device), self.hidden.to(device))


def slots_of(steps: int, ratio: float) -> int:
    """Return how many steps S a full window shows under a time mask: 1 to half."""
    return max(1, min(round(steps * (1 - ratio)), steps // 2))


def random_masks(
    valid: Tensor, *, ratio: float, cue_probability: float, generator: torch.Generator
) -> Masks:
    """Draw a mask for each window: hidden steps, or all motion, or all appearance.

    valid ``(B, T)``: True where a step was observed; the others are neither visible nor hidden.
    generator: of the CPU, so that every device draws the same masks.
    """
    batch, steps = valid.shape
    noise = torch.rand(batch, steps, generator=generator).to(valid.device)
    order = noise.masked_fill(~valid, 2.0).argsort(dim=1)  # valid steps first, in random order
    draw = torch.rand(batch, 2, generator=generator).to(valid.device)
    is_cue = draw[:, 0] < cue_probability
    cue = (draw[:, 1] < 0.5).long()
    shown = slots_of(steps, ratio)
    time = _time_masks(order[:, :shown], valid, ratio)
    single = _cue_masks(order[:, : 2 * shown], valid, ratio, cue)
    return _choose(is_cue, single, time)


def partition_masks(valid: Tensor, *, ratio: float, time_passes: int, cue_passes: bool) -> Masks:
    """Return the P fixed masks of each window, pass by pass: ``(P * B, ...)``.

    Pass p of the time passes shows evenly spaced steps, shifted by p / P of their distance. With
    two passes or more over two valid steps or more, every valid step is hidden at least once. The
    cue passes hide all motion, then all appearance. ValueError where one time pass is all there is.
    """
    if time_passes < 2 and not cue_passes:
        raise ValueError(
            "time_passes: got 1 without cue_passes, which never hides some steps;"
            " set time_passes to 2 or more, or cue_passes to true"
        )
    steps = valid.shape[1]
    order = (~valid).to(torch.uint8).argsort(dim=1, stable=True)  # valid steps first, in time
    count, shown = valid.sum(dim=1, keepdim=True), _shown(valid, ratio)
    slot = torch.arange(slots_of(steps, ratio), device=valid.device)[None]
    passes = []
    for p in range(time_passes):
        rank = (slot * time_passes + p) * count // (shown * time_passes)
        chosen = order.gather(1, rank.clamp(max=steps - 1))
        passes.append(_time_masks(chosen, valid, ratio))
    if cue_passes:
        slot = torch.arange(2 * slots_of(steps, ratio), device=valid.device)[None]
        rank = (2 * slot + 1) * count // (2 * _shown_single(valid, ratio))
        chosen = order.gather(1, rank.clamp(max=steps - 1))
        for cue in (APPEARANCE, MOTION_CUE):
            shown_cue = torch.full_like(valid[:, 0], cue, dtype=torch.int64)
            passes.append(_cue_masks(chosen, valid, ratio, shown_cue))
    return Masks(
        torch.cat([m.visible for m in passes]),
        torch.cat([m.visible_valid for m in passes]),
        torch.cat([m.hidden for m in passes]),
    )


def _shown(valid: Tensor, ratio: float) -> Tensor:
    """Return how many valid steps ``(B, 1)`` each window shows under a time mask: 1 to half."""
    count = valid.sum(dim=1, keepdim=True)
    shown = (count * (1 - ratio)).round().long().minimum(count // 2)
    return shown.clamp(1, slots_of(valid.shape[1], ratio))


def _shown_single(valid: Tensor, ratio: float) -> Tensor:
    """Return how many valid steps ``(B, 1)`` each window shows of the one visible cue."""
    count = valid.sum(dim=1, keepdim=True)
    return (2 * _shown(valid, ratio)).minimum(count.clamp(min=1))


def _time_masks(chosen: Tensor, valid: Tensor, ratio: float) -> Masks:
    """Show both cues of the first of the steps `chosen` ``(B, S)``."""
    used = torch.arange(chosen.shape[1], device=valid.device)[None] < _shown(valid, ratio)
    steps = valid.shape[1]
    return _masks(torch.cat((chosen, chosen + steps), 1), torch.cat((used, used), 1), valid)


def _cue_masks(chosen: Tensor, valid: Tensor, ratio: float, cue: Tensor) -> Masks:
    """Show one cue ``(B,)`` of the first of the steps `chosen` ``(B, 2S)``."""
    used = torch.arange(chosen.shape[1], device=valid.device)[None] < _shown_single(valid, ratio)
    return _masks(chosen + cue[:, None] * valid.shape[1], used, valid)


def _masks(visible: Tensor, used: Tensor, valid: Tensor) -> Masks:
    used = used & valid.repeat(1, 2).gather(1, visible)
    everything = Masks(visible, used, valid[..., None].expand(-1, -1, 2))
    return Masks(visible, used, everything.hidden & ~everything.shown(valid.shape[1]))


def _choose(first: Tensor, a: Masks, b: Masks) -> Masks:
    """Take each window's mask from `a` where `first` ``(B,)``, else from `b`."""
    return Masks(
        torch.where(first[:, None], a.visible, b.visible),
        torch.where(first[:, None], a.visible_valid, b.visible_valid),
        torch.where(first[:, None, None], a.hidden, b.hidden),
    )
