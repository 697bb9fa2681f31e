"""From scored boxes to score maps: which pixels of the image the object in a box covers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.letterbox import Letterbox
from tao_anomaly.detection.ultralytics_sam import Sam2
from tao_anomaly.structures import BoolArray, FloatArray, Frame

SAME_OBJECT_IOU = 0.5  # with a scored box, for a segmented object to be the one in it


@dataclass(frozen=True)
class Patch:
    """Pixels of one object: mask ``(h, w)``, its top left pixel at row `top`, column `left`.

    rest: share of the object's score that the other pixels of the rectangle have; None: no score.
    """

    top: int
    left: int
    mask: BoolArray
    rest: float | None = None


class Outliner(ABC):
    """Finds the pixels of objects given by their boxes, image by image of a clip.

    note: how, for the protocol. needs_image: whether `see` is to be called. every_row: whether it
    is cheap enough to draw the maps of all methods.
    """

    note: str
    needs_image: bool = True
    every_row: bool = False

    def reset(self) -> None:  # noqa: B027 (most keep nothing)
        """Forget the clip before."""

    def see(self, frame: Frame) -> None:  # noqa: B027
        """Take the clip's next image, the one whose objects are asked for next."""

    @abstractmethod
    def outline(self, boxes: np.ndarray, size: tuple[int, int]) -> list[Patch]:
        """Return a patch a box ``(N, 4)``, inclusive pixels, within an image of `size` (H, W)."""


class BoxFill(Outliner):
    """All pixels whose centre lies in the box."""

    note = "whole boxes"
    needs_image = False
    every_row = True

    def outline(self, boxes: np.ndarray, size: tuple[int, int]) -> list[Patch]:
        """Return the boxes' pixels."""
        patches = []
        for left, top, right, bottom in _pixels(boxes, size):
            mask = np.ones((max(0, bottom - top), max(0, right - left)), np.bool_)
            patches.append(Patch(top, left, mask))
        return patches


class InstanceMasks(Outliner):
    """Masks of a detector for instance segmentation (``-seg``), one forward pass an image.

    A box takes the mask of the most confident prediction that overlaps it by SAME_OBJECT_IOU, and
    is filled where there is none.
    """

    note = "instance masks"

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def see(self, frame: Frame) -> None:
        """Run the detector."""
        self._letterbox = self.detector.letterbox(frame.image)
        self._output = self.detector.backend.forward(self._letterbox.blob(frame.image))

    def outline(self, boxes: np.ndarray, size: tuple[int, int]) -> list[Patch]:
        """Return the masks within their boxes."""
        letterbox, output = self._letterbox, self._output
        if output.mask_coefficients is None or output.prototypes is None:
            raise ValueError(
                "the detector segments no instances: give mask_weights=<YOLOv8-seg weights>, or"
                " pixels=box"
            )
        predictions = output.predictions[0]
        chosen = _best_predictions(predictions, letterbox, boxes)
        logits = np.tensordot(
            output.mask_coefficients[0][:, chosen].T, output.prototypes[0], axes=1
        )
        masks = [
            _to_source(logit, letterbox) > 0 if index >= 0 else None
            for index, logit in zip(chosen, logits, strict=True)
        ]
        return _within_boxes(masks, boxes, size)


class Sam2Masks(Outliner):
    """Masks of SAM 2, prompted by the boxes."""

    note = "SAM 2 masks"

    def __init__(self, network: Sam2) -> None:
        self.network = network

    def see(self, frame: Frame) -> None:
        """Keep the image."""
        self._image = frame.image

    def outline(self, boxes: np.ndarray, size: tuple[int, int]) -> list[Patch]:
        """Return the masks within their boxes."""
        edges = np.concatenate([boxes[:, :2], boxes[:, 2:] + 1], axis=1)
        return _within_boxes(list(self.network.masks(self._image, edges)), boxes, size)


def score_map(size: tuple[int, int], patches: Sequence[Patch], scores: np.ndarray) -> FloatArray:
    """Return the highest score of each pixel, ``(H, W)`` float32, -inf where there is no object."""
    highest = np.full(size, -np.inf, np.float32)
    for patch, score in zip(patches, scores.astype(np.float32), strict=True):
        height, width = patch.mask.shape
        part = highest[patch.top : patch.top + height, patch.left : patch.left + width]
        np.maximum(part, score, out=part, where=patch.mask)
        if patch.rest is not None:  # below the score, so that it changes nothing in the mask
            np.maximum(part, score - np.float32(1 - patch.rest) * abs(score), out=part)
    return highest


def _pixels(boxes: np.ndarray, size: tuple[int, int]) -> list[list[int]]:
    """Return first column, first row, and column and row after the last, of boxes ``(N, 4)``."""
    edges = np.concatenate([boxes[:, :2], boxes[:, 2:] + 1], axis=1)
    limits = np.array([size[1], size[0], size[1], size[0]])
    return np.clip(np.floor(edges + 0.5), 0, limits).astype(np.int64).tolist()


def _within_boxes(
    masks: Sequence[BoolArray | None], boxes: np.ndarray, size: tuple[int, int]
) -> list[Patch]:
    """Return masks ``(H, W)`` cut to their boxes; the whole box where nothing of one is inside."""
    filled = BoxFill().outline(boxes, size)
    patches = []
    for mask, box in zip(masks, filled, strict=True):
        height, width = box.mask.shape
        cut = None if mask is None else mask[box.top : box.top + height, box.left :][:, :width]
        patches.append(box if cut is None or not cut.any() else Patch(box.top, box.left, cut))
    return patches


def _best_predictions(
    predictions: FloatArray, letterbox: Letterbox, boxes: np.ndarray
) -> np.ndarray:
    """Return the prediction that shows each box's object, ``(N,)``, -1 where none does."""
    centre, half = predictions[:2].T, predictions[2:4].T / 2
    found = letterbox.to_source(np.concatenate([centre - half, centre + half], axis=1))
    edges = np.concatenate([boxes[:, :2], boxes[:, 2:] + 1], axis=1).astype(np.float32)
    same = iou(edges, found) >= SAME_OBJECT_IOU
    confidence = np.where(same, predictions[4:].max(axis=0)[None], -1.0)
    return np.where(same.any(axis=1), confidence.argmax(axis=1), -1)


def _to_source(logits: FloatArray, letterbox: Letterbox) -> FloatArray:
    """Return mask logits ``(h, w)`` of the whole input as ``(H, W)`` of the source image."""
    whole = cv2.resize(logits, letterbox.padded[::-1], interpolation=cv2.INTER_LINEAR)
    (left, top), (height, width) = letterbox.offset, letterbox.content
    content = whole[top : top + height, left : left + width]
    source = cv2.resize(content, letterbox.source[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(source, np.float32)
