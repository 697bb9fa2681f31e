"""Does a detector run, and compute what torch computes? One drawn image tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.structures import FloatArray

MIN_COSINE = 0.999  # of each pyramid level with torch's
MIN_IOU = 0.9  # of each of the most confident boxes with torch's
MAX_SCORE_DIFFERENCE = 0.05
_BOXES = 20  # most confident ones that are compared
_SIZE = 192, 256


def try_detector(detector: Detector) -> None:
    """Run a detector on a black image."""
    detector.detect(np.zeros((480, 640, 3), np.uint8))


@dataclass(frozen=True)
class Agreement:
    """How close an engine's output is to torch's.

    cosines: one a pyramid level. iou: the lowest of the compared boxes. score_difference: the
    largest of the compared boxes' classes.
    """

    cosines: tuple[float, ...]
    iou: float
    score_difference: float

    @property
    def passed(self) -> bool:
        """Whether features and boxes of the two are interchangeable; NaN never is."""
        return (
            all(cosine >= MIN_COSINE for cosine in self.cosines)
            and self.iou >= MIN_IOU
            and self.score_difference <= MAX_SCORE_DIFFERENCE
        )

    def __str__(self) -> str:
        return (
            f"cosine {min(self.cosines):.6f}, box IoU {self.iou:.4f}, score difference"
            f" {self.score_difference:.1g}"
        )


def compare(
    predictions: FloatArray,
    maps: tuple[FloatArray, ...],
    *,
    expected_predictions: FloatArray,
    expected_maps: tuple[FloatArray, ...],
) -> Agreement:
    """Compare predictions ``(1, 4 + C, A)`` and maps ``(1, C, H, W)`` with those of torch."""
    scores = expected_predictions[0, 4:].max(axis=0)
    best = np.argsort(-scores, kind="stable")[:_BOXES]
    got, expected = predictions[0][:, best].T, expected_predictions[0][:, best].T
    overlaps = iou(_corners(got), _corners(expected)).diagonal()
    cosines = [_cosine(a, b) for a, b in zip(maps, expected_maps, strict=True)]
    return Agreement(
        tuple(cosines), float(overlaps.min()), float(np.abs(got[:, 4:] - expected[:, 4:]).max())
    )


def _corners(predictions: FloatArray) -> FloatArray:
    centre, size = predictions[:, :2], predictions[:, 2:4]
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def _cosine(a: FloatArray, b: FloatArray) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), np.finfo(np.float64).tiny))


def drawn_input() -> FloatArray:
    """Return ``(1, 3, H, W)`` float32 RGB in 0..1: two people and a car on a textured ground."""
    y, x = np.mgrid[: _SIZE[0], : _SIZE[1]].astype(np.float32)
    image = np.stack([0.45 + y / 768, 0.5 + x / 1280, 0.55 - y / 960])
    image[:, y > 134] = 0.37
    image += 0.05 * np.sin(0.7 * x) * np.sin(0.9 * y)

    def rectangle(x1: float, y1: float, x2: float, y2: float, *colour: float) -> None:
        image[:, (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)] = np.array(colour, np.float32)[
            :, None
        ]

    def disc(centre_x: float, centre_y: float, radius: float, *colour: float) -> None:
        inside = np.hypot(x - centre_x, y - centre_y) <= radius
        image[:, inside] = np.array(colour)[:, None]

    for left, head, height, blue in ((60, 40, 120, 0.1), (110, 70, 80, 0.8)):
        unit = height / 8
        rectangle(left - unit, head + 4 * unit, left - 2, head + 8 * unit, 0.1, 0.1, 0.2)
        rectangle(left + 2, head + 4 * unit, left + unit, head + 8 * unit, 0.1, 0.1, 0.2)
        rectangle(left - unit, head + unit, left + unit, head + 4.2 * unit, 0.9 - blue, 0.2, blue)
        disc(left, head + 0.6 * unit, 0.6 * unit, 0.85, 0.65, 0.5)
    rectangle(150, 110, 240, 140, 0.7, 0.7, 0.1)
    rectangle(168, 88, 222, 112, 0.7, 0.7, 0.1)
    rectangle(174, 92, 216, 110, 0.6, 0.8, 0.9)
    disc(170, 142, 12, 0.05, 0.05, 0.05)
    disc(220, 142, 12, 0.05, 0.05, 0.05)
    return np.clip(image, 0, 1).astype(np.float32)[None]
