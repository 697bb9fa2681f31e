"""From the detector's predictions to candidates, and from these to the boxes of objects."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.boxes import area, grown, share_inside
from tao_anomaly.detection.letterbox import Letterbox
from tao_anomaly.structures import Candidates, Detections, FloatArray

LEAST_SCORE = 0.05  # of a class, below which a candidate tells nothing of it
_CANDIDATES = 1000  # most boxes that enter suppression, best first
# A box this much smaller than another is a part of it also where it sticks out, by so much.
_SMALL = 0.3
_REACH = 1.2


def to_candidates(predictions: FloatArray, config: DetectorConfig) -> Candidates:
    """Return what may be an object or tell of its class, best first.

    predictions: ``(4 + C, A)``, centre x, centre y, width, height in pixels of the input and one
    score a class, as YOLOv8's Detect layer gives them.
    """
    best = predictions[4:].max(axis=0)
    kept = np.flatnonzero(best >= min(config.confidence, LEAST_SCORE))
    kept = kept[np.argsort(-best[kept], kind="stable")[:_CANDIDATES]]
    centre, size = predictions[:2, kept].T, predictions[2:4, kept].T
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return Candidates(boxes.astype(np.float32), predictions[4:, kept].T.astype(np.float32))


def to_detections(
    candidates: Candidates, letterbox: Letterbox, config: DetectorConfig
) -> Detections:
    """Return the objects of one image, best first, in pixels of the source image."""
    best = candidates.class_scores.max(axis=1, initial=0.0)
    class_ids = candidates.class_scores.argmax(axis=1).astype(np.int64)
    found = Detections(candidates.boxes, best, class_ids)
    found = found.select(np.flatnonzero(best >= config.confidence))
    found = _suppress_duplicates(found, config.nms_iou)
    boxes = letterbox.to_source(found.boxes)
    height, width = letterbox.source
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    sides = boxes[:, 2:] - boxes[:, :2]
    found = Detections(boxes, found.scores, found.class_ids)
    found = found.select(np.flatnonzero(sides.min(axis=1) > 1))
    found = suppress_parts(found, config.part_overlap)
    kept = found.select(np.arange(min(len(found), config.max_detections)))
    return replace(kept, excess=len(found) - len(kept))


def _suppress_duplicates(found: Detections, nms_iou: float) -> Detections:
    """Greedy non-maximum suppression within each class; `found` is sorted, best first."""
    if not len(found):
        return found
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    rectangles = np.concatenate([found.boxes[:, :2], sides], axis=1).astype(np.float64)
    kept = cv2.dnn.NMSBoxesBatched(
        rectangles.tolist(), found.scores.tolist(), found.class_ids.tolist(), 0.0, nms_iou
    )
    return found.select(np.sort(np.asarray(kept, np.int64).reshape(-1)))


def suppress_parts(found: Detections, part_overlap: float) -> Detections:
    """Drop boxes that lie inside a more confident one: a backpack, a board under its rider.

    found: sorted, best first. part_overlap: share of the box's own area that must lie inside; a
    small box's in the other box grown to `_REACH`. What is kept takes in its parts of another
    class, as a bicycle its rider, but not those of its own: they may be another person's.
    """
    if part_overlap >= 1 or len(found) < 2:
        return found
    areas = area(found.boxes)
    inside = share_inside(found.boxes, found.boxes) >= part_overlap
    touching = share_inside(found.boxes, grown(found.boxes, _REACH)) >= part_overlap
    small = areas[:, None] < _SMALL * areas[None, :]
    is_part = np.tril(inside | (touching & small), k=-1)
    whole = ~is_part.any(axis=1)
    owned = is_part & whole
    parts = np.flatnonzero(owned.any(axis=1))
    owners = owned[parts].argmax(axis=1)  # the surest
    joined = found.class_ids[parts] != found.class_ids[owners]
    parts, owners, boxes = parts[joined], owners[joined], found.boxes.copy()
    np.minimum.at(boxes[:, :2], owners, found.boxes[parts, :2])
    np.maximum.at(boxes[:, 2:], owners, found.boxes[parts, 2:])
    return Detections(boxes, found.scores, found.class_ids).select(np.flatnonzero(whole))
