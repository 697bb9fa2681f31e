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
_FADING_REACH = 1.5  # half sides from its centre at which a fading box ends: at a share of 0.03


@dataclass(frozen=True)
class Patch:
    """The pixels of one object, top left at row `top`, column `left`.

    shares ``(h, w)`` float32: of the object's score that each pixel has, 0 to 1; 0: none.
    """

    top: int
    left: int
    shares: FloatArray

    @staticmethod
    def of_mask(top: int, left: int, mask: BoolArray, *, rest: float = 0.0) -> Patch:
        """Return the patch of a mask ``(h, w)``; rest: share of the pixels off it."""
        return Patch(top, left, np.where(mask, 1.0, rest).astype(np.float32))

    @property
    def mask(self) -> BoolArray:
        """True ``(h, w)`` for the pixels that have the whole score."""
        return np.asarray(self.shares == 1)


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
            shape = max(0, bottom - top), max(0, right - left)
            patches.append(Patch(top, left, np.ones(shape, np.float32)))
        return patches


class FadingBox(Outliner):
    """Ellipses in the boxes that fade at their edge: the object seldom fills a box's corners.

    The share is 2^(-r^4), r the distance from the centre in half sides: a half where the ellipse
    touches the box. It goes on around the box, which may end before the object does.
    """

    note = f"ellipses that fade at the box's edge, to {_FADING_REACH:g} times its sides"
    needs_image = False
    every_row = True

    def outline(self, boxes: np.ndarray, size: tuple[int, int]) -> list[Patch]:
        """Return the boxes' pixels and those around."""
        edges = np.concatenate([boxes[:, :2], boxes[:, 2:] + 1], axis=1)
        centres, halves = (edges[:, :2] + edges[:, 2:]) / 2, (edges[:, 2:] - edges[:, :2]) / 2
        reach = _FADING_REACH * halves
        around = np.concatenate([centres - reach, centres + reach - 1], axis=1)
        patches = []
        for pixels, centre, half in zip(_pixels(around, size), centres, halves, strict=True):
            left, top, right, bottom = pixels
            across = (np.arange(left, right) + 0.5 - centre[0]) / half[0]
            down = (np.arange(top, bottom) + 0.5 - centre[1]) / half[1]
            shares = np.exp2(-((across**2 + down[:, None] ** 2) ** 2))
            patches.append(Patch(top, left, shares.astype(np.float32)))
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
        height, width = patch.shares.shape
        part = highest[patch.top : patch.top + height, patch.left : patch.left + width]
        lower = score - (1 - patch.shares) * abs(score)  # lower also where the score is negative
        np.maximum(part, lower, out=part, where=patch.shares > 0)
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
        height, width = box.shares.shape
        cut = None if mask is None else mask[box.top : box.top + height, box.left :][:, :width]
        if cut is None or not cut.any():
            patches.append(box)
        else:
            patches.append(Patch.of_mask(box.top, box.left, cut))
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
