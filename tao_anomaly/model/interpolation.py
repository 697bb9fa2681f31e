"""What the visible steps of a window say of the hidden ones without learning."""

from __future__ import annotations

import torch
from torch import Tensor


def visible_mean(values: Tensor, visible: Tensor) -> Tensor:
    """Return the mean ``(B, T, K)`` of the visible steps for every step, 0 where none is visible.

    values ``(B, T, K)``, visible ``(B, T)``: True where a step is visible.
    """
    weight = visible[..., None].to(values.dtype)
    mean = (values * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp(min=1)
    return mean.expand_as(values)


def last_visible(values: Tensor, visible: Tensor) -> Tensor:
    """Return the latest visible step up to each; before the first, that one; 0 where there is none.

    Arguments as of `visible_mean`.
    """
    before, after = _neighbours(visible)
    return _at(values, torch.where(before >= 0, before, after), visible)


def linear_interpolation(values: Tensor, times: Tensor, visible: Tensor) -> Tensor:
    """Return the line between the nearest visible steps in time, beyond the ends the nearest value.

    times ``(B, T)`` in seconds, rising over the visible steps; the others as of `visible_mean`.
    """
    before, after = _neighbours(visible)
    steps = visible.shape[1]
    left = torch.where(before >= 0, before, after).clamp(max=steps - 1)
    right = torch.where(after < steps, after, left)
    begin, end = times.gather(1, left), times.gather(1, right)
    span = end - begin
    inside = span > 0
    share = torch.where(inside, (times - begin) / torch.where(inside, span, 1.0), 0.0)[..., None]
    start = _at(values, left, visible)
    return start + share * (_at(values, right, visible) - start)


def _neighbours(visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest visible step up to each (-1: none) and from each on (T: none)."""
    steps = visible.shape[1]
    index = torch.arange(steps, device=visible.device)
    earlier = visible[:, None, :] & (index[None, :] <= index[:, None])
    later = visible[:, None, :] & (index[None, :] >= index[:, None])
    before = torch.where(earlier, index, -1).amax(dim=2)
    after = torch.where(later, index, steps).amin(dim=2)
    return before, after


def _at(values: Tensor, index: Tensor, visible: Tensor) -> Tensor:
    """Return the values ``(B, T, K)`` of the steps `index` ``(B, T)``, 0 where none is visible."""
    index = index.clamp(0, visible.shape[1] - 1)[..., None].expand_as(values)
    return values.gather(1, index) * visible.any(dim=1)[:, None, None].to(values.dtype)
