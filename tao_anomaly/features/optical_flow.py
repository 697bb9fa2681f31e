"""What moves inside each box: optical flow by direction, also where no track tells a velocity.

Flow magnitudes by direction describe how an object moves, limbs and wheels included, better than
the centre of its box (Reiss and Hoshen, "Attribute-based Representations for Accurate and
Interpretable Video Anomaly Detection", arXiv 2212.00789).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tao_anomaly.structures import NANOSECONDS, FloatArray, Frame, ImageArray, IntArray
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion, shrinkage, small_grey

DIRECTIONS = 8
_ENOUGH = 0.5  # share of a box that must be its own, for the rest to be left to the others
_SHORT_SIDE = 32  # pixels it needs: OpenCV's search fails, or crashes, in narrower images


@dataclass(frozen=True)
class Comparison:
    """An image beside the one before it in its stream.

    image: small and grey, None where it is too narrow to tell. previous: likewise, None in a first
    image. back: the way to where each pixel was, ``(H, W, 2)``, x and y in pixels of the small
    image; None where the two cannot be compared.
    """

    image: ImageArray | None
    previous: ImageArray | None
    back: FloatArray | None = None


class BoxFlow:
    """Compares each image of a stream with the one before, by dense inverse search.

    Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last image."""
        # A new one: in a small image it changes its own settings, and keeps them.
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._previous: ImageArray | None = None
        self._stamp_ns = 0

    def compare(self, frame: Frame) -> Comparison:
        """Return how an image differs from the last that `update` has taken in."""
        previous, scale = self._previous, shrinkage(frame.size)
        if min(frame.size) * scale < _SHORT_SIDE:
            return Comparison(None, previous)
        image = small_grey(frame.image, scale)
        if previous is None or previous.shape != image.shape:
            return Comparison(image, previous)
        back = self._flow.calc(image, previous, None)  # type: ignore[call-overload]
        return Comparison(image, previous, np.asarray(back))

    def update(
        self,
        frame: Frame,
        boxes: FloatArray,
        motion: CameraMotion = STILL,
        comparison: Comparison | None = None,
    ) -> FloatArray:
        """Return how much moves into each direction in boxes ``(N, 4)``, ``(N, DIRECTIONS)``.

        A value is the mean over a box of the speed of what moves into that eighth of the circle
        (the middle of the first is +x, they turn towards +y: along an axis is one direction), in
        image heights a second. What other boxes cover as well is left out, unless that is most of
        the box: a cyclist who passes behind a walker is not the walker's motion. motion: of the
        camera since the last image, taken off. comparison: of this frame, where `compare` has made
        it; one with another image than the last is made anew. Nothing moves in a stream's first
        image, nor where the image is too narrow to tell.
        """
        out = np.zeros((len(boxes), DIRECTIONS), np.float32)
        if comparison is None or comparison.previous is not self._previous:
            comparison = self.compare(frame)
        image, back = comparison.image, comparison.back
        if image is None:
            return out
        if back is None:
            self.reset()
        self._previous = image
        seconds = (frame.stamp_ns - self._stamp_ns) / NANOSECONDS
        self._stamp_ns = frame.stamp_ns
        if back is None or seconds <= 0 or not len(boxes):
            return out
        scale = shrinkage(frame.size)
        back = _seen_by_still_camera(back, motion, scale)
        moved = _by_direction(back, _cells(boxes * scale, image.shape))
        return moved / np.float32(image.shape[0] * seconds)


def _seen_by_still_camera(back: FloatArray, motion: CameraMotion, scale: float) -> FloatArray:
    """Return the way back ``(H, W, 2)`` less that of the camera; scale: of the small image."""
    if motion is STILL:
        return back
    rows, columns = np.indices(back.shape[:2], np.float32)
    here = np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5  # by the outer edges
    came = motion.points((here + back.reshape(-1, 2)).astype(np.float64) / scale) * scale
    return (came - here).astype(np.float32).reshape(back.shape)


def _by_direction(back: FloatArray, cells: IntArray) -> FloatArray:
    """Return the mean speed into each direction in boxes, ``(N, DIRECTIONS)``.

    back: ``(H, W, 2)``, the way to where each pixel was. cells: ``(N, 4)``, their pixels. All boxes
    at once: box by box takes longer.
    """
    slices = [np.s_[y1:y2, x1:x2] for x1, y1, x2, y2 in cells.tolist()]
    boxes_at = np.zeros(back.shape[:2], np.uint16)
    for box in slices:
        boxes_at[box] += 1
    sizes = (cells[:, 2:] - cells[:, :2]).prod(axis=1)
    rows = np.repeat(np.arange(len(cells)), sizes)
    own = np.concatenate([boxes_at[box].ravel() for box in slices]) == 1
    counts = np.bincount(rows, own, len(cells))
    crowded = counts < _ENOUGH * sizes
    own |= crowded[rows]
    ways = np.concatenate([back[box].reshape(-1, 2) for box in slices])
    speed, direction = cv2.cartToPolar(-ways[:, 0], -ways[:, 1])
    turns = direction.ravel() * np.float32(DIRECTIONS / (2 * np.pi))
    eighth = (turns + np.float32(0.5)).astype(np.uint8) % np.uint8(DIRECTIONS)
    sums = np.bincount(rows * DIRECTIONS + eighth, speed.ravel() * own, len(cells) * DIRECTIONS)
    means = sums.reshape(-1, DIRECTIONS) / np.where(crowded, sizes, counts)[:, None]
    return means.astype(np.float32)


def _cells(boxes: FloatArray, shape: tuple[int, ...]) -> IntArray:
    """Return the pixels that boxes ``(N, 4)`` cover, first and behind the last, at least one."""
    limit = np.array([shape[1], shape[0]])
    first = np.clip(np.floor(boxes[:, :2]).astype(np.int64), 0, limit - 1)
    last = np.clip(np.ceil(boxes[:, 2:]).astype(np.int64), first + 1, limit)
    return np.concatenate([first, last], axis=1)
