"""What moves and has no box: objects of classes that the network does not know.

A thrown bag, an animal, an odd vehicle: whatever is not background, and joined to no object of the
network, as shadows and limbs are.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from tao_anomaly.structures import (
    MOVING_OBJECT,
    NANOSECONDS,
    Detections,
    FloatArray,
    Frame,
    ImageArray,
)
from tao_anomaly.tracking.background import Background
from tao_anomaly.tracking.camera_motion import shrinkage, small_grey

CLASS_NAME = "moving object"
_WARMUP = 3.0  # seconds; what stays is background after a tenth of its memory, holes too
_OPENING = np.ones((2, 2), np.uint8)  # pixels; what is thinner is noise
_CLOSING = np.ones((7, 7), np.uint8)  # pixels; what is nearer to each other is one
_SMALLEST = 12  # pixels of the shrunken image
_REACH = 0.05  # of a box's sides, by which an object's own movement may stick out


class MovingAreas:
    """Adds the areas that move by themselves to what the network found in a stream's images.

    Their class is MOVING_OBJECT. confidence: they are given.
    """

    def __init__(self, *, confidence: float) -> None:
        self.confidence = confidence
        self.reset()

    def reset(self) -> None:
        """Forget the background."""
        self._background = Background()
        self._begun_ns: int | None = None

    def add(self, detections: Detections, frame: Frame, *, most: int) -> Detections:
        """Return the detections and, behind them, the largest areas that belong to none of them.

        most: detections in all. None in a stream's first three seconds, and in an image in
        which nearly everything changed.
        """
        scale = shrinkage(frame.size)
        moving = self._moving(small_grey(frame.image, scale), frame.stamp_ns)
        boxes = _free_areas(moving, detections.boxes * scale) / np.float32(scale)
        boxes = boxes[: max(0, most - len(detections))]
        height, width = frame.size
        limits = np.array([width, height, width, height], np.float32)
        return replace(
            detections,
            boxes=np.concatenate([detections.boxes, np.minimum(boxes, limits)]),
            scores=np.append(detections.scores, np.full(len(boxes), self.confidence, np.float32)),
            class_ids=np.append(detections.class_ids, np.full(len(boxes), MOVING_OBJECT)),
        )

    def _moving(self, image: ImageArray, stamp_ns: int) -> ImageArray:
        """Return 255 where the grey image is not the background."""
        if self._begun_ns is None:
            self._begun_ns = stamp_ns
        moving = self._background.moving(image, stamp_ns)
        if stamp_ns - self._begun_ns < _WARMUP * NANOSECONDS:
            # What stood in the first image leaves a hole that seems to be an object.
            return np.zeros_like(image)
        opened = cv2.morphologyEx(moving, cv2.MORPH_OPEN, _OPENING)
        return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _CLOSING), np.uint8)


def _free_areas(moving: ImageArray, boxes: FloatArray) -> FloatArray:
    """Return the boxes of the connected areas that touch none of `boxes`, the largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
    free = stats[:, cv2.CC_STAT_AREA] >= _SMALLEST
    free[0] = False  # the background
    if count > 1:
        reach = (boxes[:, 2:] - boxes[:, :2]) * np.float32(_REACH)
        first = np.maximum(np.floor(boxes[:, :2] - reach), 0).astype(int)
        last = np.maximum(np.ceil(boxes[:, 2:] + reach), 0).astype(int)
        for (x1, y1), (x2, y2) in zip(first, last, strict=True):
            free[labels[y1:y2, x1:x2]] = False
    found = stats[free]
    found = found[np.argsort(-found[:, cv2.CC_STAT_AREA], kind="stable")]
    top_left, sides = found[:, :2], found[:, 2:4]
    return np.concatenate([top_left, top_left + sides], axis=1).astype(np.float32)
