"""How the camera moved between two images, from the flow of the background.

Corners (Shi and Tomasi, CVPR 1994) off the objects are followed by pyramidal Lucas-Kanade flow; a
similarity is fitted to them by RANSAC, so that what moves on its own does not count.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tao_anomaly.structures import FloatArray, ImageArray

log = logging.getLogger(__name__)

_LONG_SIDE = 384  # pixels of the image the flow is measured on
_CORNERS = 200
_SPACING = 10  # pixels between corners
_QUALITY = 0.01  # of a corner, relative to the best
_WINDOW = (15, 15)  # pixels the flow compares
_LEVELS = 4  # halvings: motions up to some 100 pixels
_TOLERANCE = 1.0  # pixels from the fitted motion that count as the background's
_FEWEST = 10  # background corners a motion is believed on


@dataclass(frozen=True)
class CameraMotion:
    """Where points of one image lie in the next: ``linear (2, 2) @ point + shift (2,)``, pixels."""

    linear: NDArray[np.float64]
    shift: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Growth of lengths."""
        return float(np.sqrt(abs(np.linalg.det(self.linear))))

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points ``(N, 2)`` come to lie."""
        return points @ self.linear.T + self.shift

    def box(self, box: FloatArray) -> NDArray[np.float64]:
        """Return where a box ``(4,)``, x1 y1 x2 y2, comes to lie; it stays upright."""
        corners = box.astype(np.float64)
        centre = self.points((corners[None, :2] + corners[None, 2:]) / 2)[0]
        half = (corners[2:] - corners[:2]) / 2 * self.scale
        return np.concatenate([centre - half, centre + half])

    def inverse(self) -> CameraMotion:
        """Return the way back."""
        linear = np.asarray(np.linalg.inv(self.linear), np.float64)
        return CameraMotion(linear, -linear @ self.shift)

    def after(self, first: CameraMotion) -> CameraMotion:
        """Return `first` followed by this motion."""
        return CameraMotion(self.linear @ first.linear, self.linear @ first.shift + self.shift)


STILL = CameraMotion(np.eye(2), np.zeros(2))


class CameraMotionEstimator:
    """Compares each image of a stream with the one before.

    unknown: images so far whose motion could not be told; they count as still.
    """

    def __init__(self) -> None:
        self.unknown = 0
        self.reset()

    def reset(self) -> None:
        """Forget the last image."""
        self._previous: ImageArray | None = None
        self._known = True

    def update(self, image: ImageArray, boxes: FloatArray) -> CameraMotion:
        """Return the motion from the last image to this BGR one; STILL for the first.

        boxes ``(N, 4)``: objects in this image, whose points are no background.
        """
        shrink = shrinkage(image.shape)
        current = small_grey(image, shrink)
        previous, self._previous = self._previous, current
        if previous is None:
            return STILL
        return self._note(_motion(previous, current, boxes * shrink, shrink))

    def _note(self, motion: CameraMotion | None) -> CameraMotion:
        if motion is None:
            self.unknown += 1
            if self._known:
                log.warning(
                    "camera motion unknown, taken as still: too little background to follow"
                    " (%d images so far)",
                    self.unknown,
                )
        self._known = motion is not None
        return motion or STILL


def shrinkage(shape: tuple[int, ...]) -> float:
    """Return by what factor an image ``(H, W, ...)`` is shrunk before flow is measured."""
    return min(1.0, _LONG_SIDE / max(shape[:2]))


def small_grey(image: ImageArray, scale: float) -> ImageArray:
    """Return a BGR image in grey, shrunk to `scale`."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _motion(
    previous: ImageArray, current: ImageArray, boxes: FloatArray, shrink: float
) -> CameraMotion | None:
    """Return the motion in pixels of the source, None where too few corners agree on one."""
    corners = cv2.goodFeaturesToTrack(
        current, _CORNERS, _QUALITY, _SPACING, mask=_background(current, boxes)
    )
    if corners is None or len(corners) < _FEWEST:
        return None
    origins, found, _ = cv2.calcOpticalFlowPyrLK(
        current, previous, corners, np.empty_like(corners), winSize=_WINDOW, maxLevel=_LEVELS
    )
    followed = np.asarray(found)[:, 0] == 1
    cv2.setRNGSeed(0)  # RANSAC draws from OpenCV's own generator
    matrix, agreeing = cv2.estimateAffinePartial2D(
        origins[followed], corners[followed], ransacReprojThreshold=_TOLERANCE
    )
    if matrix is None or agreeing.sum() < _FEWEST:
        return None
    # Pixel centres lie at half pixels of the source's outer edges, in both images alike.
    centre = 0.5 - 0.5 * matrix[:, :2].sum(axis=1)
    return CameraMotion(matrix[:, :2], (matrix[:, 2] + centre) / shrink)


def _background(image: ImageArray, boxes: FloatArray) -> ImageArray:
    mask = np.full(image.shape, 255, np.uint8)
    for x1, y1, x2, y2 in boxes.astype(int):
        mask[max(0, y1) : max(0, y2 + 1), max(0, x1) : max(0, x2 + 1)] = 0
    return mask
