"""How well a detector finds what Plaza shows."""

from __future__ import annotations

from itertools import islice

import numpy as np

from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.ultralytics_training import average_precision
from tao_anomaly.structures import BoolArray, Detections, FloatArray, IntArray
from training.plaza_images import CLASS_NAMES, labelled_images, objects

IOU_THRESHOLD = 0.5


def quality(detector: Detector, *, images: int) -> dict[str, float]:
    """Return the average precision of each class on `images` of the held-out scenes.

    As everywhere, a detection is right if its class is and no better one has taken its object.
    """
    found: list[Detections] = []
    correct, wanted = [], []
    for rendered, categories in islice(labelled_images("val"), images):
        boxes, classes = objects(rendered, categories)
        found.append(detector.detect(rendered.image)[0])
        correct.append(matched(found[-1], boxes, classes))
        wanted.append(classes)
    precision = average_precision(
        np.concatenate(correct),
        np.concatenate([detections.scores for detections in found]),
        np.concatenate([detections.class_ids for detections in found]),
        np.concatenate(wanted),
    )
    return {CLASS_NAMES[index]: value for index, value in precision.items()}


def matched(detections: Detections, boxes: FloatArray, classes: IntArray) -> BoolArray:
    """Return which detections ``(N,)``, best first, find one of the objects ``(M, 4)`` ``(M,)``."""
    overlaps = iou(detections.boxes, boxes)
    overlaps[detections.class_ids[:, None] != classes[None]] = 0
    hits = np.zeros(len(detections), np.bool_)
    for row, overlap in enumerate(overlaps):
        if len(boxes) and overlap.max() >= IOU_THRESHOLD:
            hits[row] = True
            overlaps[:, overlap.argmax()] = 0
    return hits
