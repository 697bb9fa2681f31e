"""RoIAlign as two small matrix products.

He et al., "Mask R-CNN", ICCV 2017; conventions of torchvision.ops.roi_align with ``aligned=True``.
Bilinear sampling is separable: the value at (y, x) is ``wy F wx`` with interpolation weights of one
axis each, and so is the mean over a bin's sampling points. No torchvision is needed.
"""

from __future__ import annotations

import numpy as np
import torch

from tao_anomaly.structures import FloatArray


def roi_align(
    feature_map: torch.Tensor,
    boxes: FloatArray,
    *,
    bins: int,
    samples: int,
    scale: float,
) -> torch.Tensor:
    """Return the pooled features ``(N, C, bins, bins)`` of boxes on one map.

    feature_map: ``(C, H, W)``. boxes: ``(N, 4)`` in pixels of the detector's input. samples:
    sampling points a bin and axis. scale: cells of the map an input pixel (1 / stride). Sampling
    points more than one cell outside the map count as zero, as in torchvision.
    """
    channels, height, width = feature_map.shape
    cells = boxes.astype(np.float64) * scale - 0.5
    down = _axis_weights(cells[:, 1], cells[:, 3], height, bins=bins, samples=samples)
    across = _axis_weights(cells[:, 0], cells[:, 2], width, bins=bins, samples=samples)
    count = len(boxes)
    wy = torch.from_numpy(down).to(feature_map)
    wx = torch.from_numpy(across.reshape(count * bins, width)).to(feature_map)
    # (C * H, W) @ (W, N * B) -> (N, C, H, B); then (B, H) @ (C, H, B) for each box
    columns = (feature_map.reshape(channels * height, width) @ wx.T).reshape(
        channels, height, count, bins
    )
    return torch.einsum("nph,chnq->ncpq", wy, columns)


def _axis_weights(
    start: np.ndarray, end: np.ndarray, length: int, *, bins: int, samples: int
) -> FloatArray:
    """Return the weight ``(N, bins, length)`` of each cell in the mean of each bin.

    start, end: ``(N,)`` extent of the boxes in cells, 0 at the centre of the first one.
    """
    offsets = (np.arange(bins * samples) + 0.5) / (bins * samples)
    points = start[:, None] + offsets[None, :] * (end - start)[:, None]
    inside = (points >= -1.0) & (points <= length)
    clamped = points.clip(0, length - 1)
    low = np.minimum(np.floor(clamped).astype(np.int64), max(length - 2, 0))
    high = np.minimum(low + 1, length - 1)
    fraction = clamped - low
    weights = np.zeros((len(start), bins, length))
    rows = np.arange(len(start))[:, None]
    columns = np.arange(bins * samples)[None, :] // samples
    np.add.at(weights, (rows, columns, low), (1 - fraction) * inside / samples)
    np.add.at(weights, (rows, columns, high), fraction * inside / samples)
    return weights.astype(np.float32)
