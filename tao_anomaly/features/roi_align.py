"""RoIAlign as a matrix product a level.

He et al., "Mask R-CNN", ICCV 2017; conventions of torchvision.ops.roi_align with ``aligned=True``.
Bilinear sampling is separable: the value at (y, x) is ``wy F wx`` with interpolation weights of one
axis each, and so is the mean over a bin's sampling points: a cell's weight in it is the product of
both. No torchvision is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tao_anomaly.structures import FloatArray


def roi_align(
    feature_maps: Sequence[torch.Tensor],
    boxes: FloatArray,
    *,
    bins: int,
    samples: int,
    scales: Sequence[float],
) -> torch.Tensor:
    """Return the pooled features ``(N, C, bins, bins)`` of boxes, C those of all maps in turn.

    feature_maps: one ``(C, H, W)`` a level. boxes: ``(N, 4)`` in pixels of the detector's input.
    samples: sampling points a bin and axis. scales: cells of each map an input pixel (1 / stride).
    Sampling points more than one cell outside a map count as zero, as in torchvision.
    """
    # The axes of all maps at once, x then y of each: many small steps would take longer.
    lengths = np.array([length for level in feature_maps for length in level.shape[:0:-1]])
    cells = boxes.T.astype(np.float64) * np.reshape(scales, (-1, 1, 1)) - 0.5
    starts, ends = cells[:, :2].reshape(len(lengths), -1), cells[:, 2:].reshape(len(lengths), -1)
    flat = torch.from_numpy(_axis_weights(starts, ends, lengths, bins=bins, samples=samples))
    weights = flat.to(feature_maps[0]).split((len(boxes) * bins * lengths).tolist())
    pooled = [
        _pool(level, across.view(-1, bins, level.shape[2]), down.view(-1, bins, level.shape[1]))
        for level, across, down in zip(feature_maps, weights[::2], weights[1::2], strict=True)
    ]
    return torch.cat(pooled, dim=3).permute(0, 3, 1, 2)


def _pool(feature_map: torch.Tensor, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Return the means ``(N, B, B, C)`` with weights ``(N, B, W)`` and ``(N, B, H)``."""
    (count, bins, width), (channels, height) = across.shape, feature_map.shape[:2]
    cells = down[:, :, None, :, None] * across[:, None, :, None, :]
    means = cells.view(-1, height * width) @ feature_map.reshape(channels, -1).T
    return means.view(count, bins, bins, channels)


def _axis_weights(
    starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray, *, bins: int, samples: int
) -> FloatArray:
    """Return the weight ``(N, bins, length)`` of each cell in the mean of each bin, axes in turn.

    starts, ends: ``(axes, N)`` extent of the boxes in cells, 0 at the centre of the first one.
    lengths: ``(axes,)`` in cells. The weights of all axes lie one after the other, flat.
    """
    points, length = bins * samples, lengths[:, None, None]
    offsets = (np.arange(points) + 0.5) / points
    at = starts[..., None] + offsets * (ends - starts)[..., None]
    inside = (at >= -1.0) & (at <= length)
    clamped = np.minimum(np.maximum(at, 0), length - 1)
    low = np.minimum(clamped.astype(np.int64), np.maximum(length - 2, 0))
    high = np.minimum(low + 1, length - 1)
    fraction = clamped - low
    rows = np.arange(starts.shape[1])[:, None] * bins + np.arange(points) // samples
    sizes = starts.shape[1] * bins * lengths
    first = (np.cumsum(sizes) - sizes)[:, None, None] + rows * length
    cells = np.concatenate([first + low, first + high], axis=None)
    shares = np.concatenate([(1 - fraction) * inside, fraction * inside], axis=None) / samples
    return np.bincount(cells, shares, sizes.sum()).astype(np.float32)
