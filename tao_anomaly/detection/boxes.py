"""Geometry of boxes ``x1, y1, x2, y2``."""

from __future__ import annotations

import numpy as np

from tao_anomaly.structures import FloatArray

_TINY = np.finfo(np.float32).tiny


def area(boxes: FloatArray) -> FloatArray:
    """Return the areas ``(N,)`` of boxes ``(N, 4)``; inverted boxes have none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the shared areas ``(N, M)`` of boxes ``(N, 4)`` and ``(M, 4)``."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    return sides[..., 0] * sides[..., 1]


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the intersection over union ``(N, M)``, 0 where both boxes are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return shared / np.maximum(union, _TINY)


def share_inside(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return which share of each box of `a` lies inside each box of `b`, ``(N, M)``."""
    return intersection(a, b) / np.maximum(area(a)[:, None], _TINY)


def grown(boxes: FloatArray, factor: float) -> FloatArray:
    """Return boxes ``(N, 4)`` with `factor` times their sides, about their centres."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
