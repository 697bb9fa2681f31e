"""RoIAlign against the published algorithm, written out point by point, and torchvision's op."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tao_anomaly.features.roi_align import roi_align

BOXES = np.array(
    [
        [16, 24, 80, 72],  # inside
        [3.3, 5.7, 61.2, 39.9],  # fractional
        [-40, -30, 50, 60],  # leaves at the top left
        [100, 60, 400, 300],  # leaves at the bottom right
        [-100, -100, -50, -50],  # wholly outside
        [0, 0, 160, 96],  # everything
        [40, 40, 40.5, 41],  # tiny: far less than a cell
        [40, 40, 40, 40],  # no extent
        [-9, 20, 3, 30],  # within a cell of the border
        [155, 90, 170, 104],
    ],
    np.float32,
)


def bilinear(channel: np.ndarray, y: float, x: float) -> float:
    """Value of one sampling point, of He et al. and of Detectron's convention at the borders."""
    height, width = channel.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return float(
        channel[top, left] * (1 - dy) * (1 - dx)
        + channel[top, right] * (1 - dy) * dx
        + channel[bottom, left] * dy * (1 - dx)
        + channel[bottom, right] * dy * dx
    )


def reference(feature_map: np.ndarray, box: np.ndarray, bins: int, samples: int, scale: float):
    x1, y1, x2, y2 = (float(side) * scale - 0.5 for side in box)  # aligned=True
    pooled = np.zeros((len(feature_map), bins, bins))
    step_y, step_x = (y2 - y1) / bins, (x2 - x1) / bins
    for channel, row, column in np.ndindex(pooled.shape):
        points = [
            bilinear(
                feature_map[channel],
                y1 + row * step_y + (i + 0.5) * step_y / samples,
                x1 + column * step_x + (j + 0.5) * step_x / samples,
            )
            for i in range(samples)
            for j in range(samples)
        ]
        pooled[channel, row, column] = sum(points) / len(points)
    return pooled


@pytest.fixture(scope="module")
def feature_map() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 12, 20, generator=generator)  # stride 8 of a 96x160 input


@pytest.mark.parametrize(("bins", "samples"), [(1, 1), (1, 14), (7, 2), (3, 4), (2, 3)])
def test_equals_the_published_algorithm(feature_map: torch.Tensor, bins: int, samples: int) -> None:
    got = roi_align([feature_map], BOXES, bins=bins, samples=samples, scales=[1 / 8])
    assert got.shape == (len(BOXES), 3, bins, bins)
    for pooled, box in zip(got.numpy(), BOXES, strict=True):
        wanted = reference(feature_map.numpy().astype(np.float64), box, bins, samples, 1 / 8)
        np.testing.assert_allclose(pooled, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_maps_of_one_row_or_column(shape: tuple[int, int]) -> None:
    small = torch.arange(float(np.prod(shape))).reshape(1, *shape)
    boxes = np.array([[0, 0, 72, 72], [4, 4, 8, 8], [-20, -20, 30, 30]], np.float32)
    got = roi_align([small], boxes, bins=2, samples=2, scales=[1 / 8])
    for pooled, box in zip(got.numpy(), boxes, strict=True):
        wanted = reference(small.numpy().astype(np.float64), box, 2, 2, 1 / 8)
        np.testing.assert_allclose(pooled, wanted, rtol=0, atol=1e-5)


def test_equals_torchvision(feature_map: torch.Tensor) -> None:
    try:
        from torchvision.ops import roi_align as theirs
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import on this torch: {error}")
    rois = torch.from_numpy(np.concatenate([np.zeros((len(BOXES), 1)), BOXES], axis=1)).float()
    for bins, samples in ((1, 14), (7, 2), (3, 4)):
        wanted = theirs(
            feature_map[None], rois, bins, spatial_scale=1 / 8, sampling_ratio=samples, aligned=True
        )
        got = roi_align([feature_map], BOXES, bins=bins, samples=samples, scales=[1 / 8])
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_a_linear_map_gives_the_position_of_the_bins() -> None:
    """The value of cell i lies at its centre, (i + 0.5) * stride: no half-cell shift."""
    across = ((torch.arange(20.0) + 0.5) * 8).expand(1, 12, 20)
    box = np.array([[20, 30, 60, 50]], np.float32)
    got = roi_align([across], box, bins=4, samples=2, scales=[1 / 8])
    np.testing.assert_allclose(got[0, 0, 0].numpy(), [25, 35, 45, 55], atol=1e-4)


def test_the_mean_over_the_bins_is_the_one_bin_feature(feature_map: torch.Tensor) -> None:
    fine = roi_align([feature_map], BOXES, bins=7, samples=2, scales=[1 / 8])
    whole = roi_align([feature_map], BOXES, bins=1, samples=14, scales=[1 / 8])
    torch.testing.assert_close(fine.mean(dim=(2, 3)), whole[:, :, 0, 0], rtol=0, atol=1e-5)


def test_no_boxes_give_no_features(feature_map: torch.Tensor) -> None:
    none = np.zeros((0, 4), np.float32)
    assert roi_align([feature_map], none, bins=3, samples=2, scales=[1 / 8]).shape == (0, 3, 3, 3)


@pytest.mark.parametrize(("bins", "samples"), [(1, 14), (3, 4)])
def test_levels_together_give_what_each_gives_alone(bins: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {1 / 8: (3, 12, 20), 1 / 16: (5, 6, 10), 1 / 32: (2, 3, 5)}
    levels = [torch.randn(shape, generator=generator) for shape in shapes.values()]
    together = roi_align(levels, BOXES, bins=bins, samples=samples, scales=list(shapes))
    alone = [
        roi_align([level], BOXES, bins=bins, samples=samples, scales=[scale])
        for level, scale in zip(levels, shapes, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone, dim=1), rtol=0, atol=0)
