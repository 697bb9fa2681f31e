"""What of a fixed camera's image is not the background, by a mixture of Gaussians at each pixel.

Zivkovic and van der Heijden, "Efficient adaptive density estimation per image pixel for the task of
background subtraction", Pattern Recognition Letters 27, 2006.
"""

from __future__ import annotations

import cv2
import numpy as np

from tao_anomaly.structures import NANOSECONDS, ImageArray

_MEMORY = 20.0  # seconds over which the background is learned
_VARIANCES = 16.0  # squared deviations from the background that are none
_EVERYWHERE = 0.5  # share of an image that moves when the light or the camera has changed


class Background:
    """Learns the background of a stream from its images up to the present one.

    share: of the time that is the background's; what is seen at a pixel for longer than the rest of
    it becomes background. eager: until the memory is full all images count alike, so that a first
    second is worth something; otherwise the first image has its weight from the start.
    """

    def __init__(self, *, share: float = 0.9, eager: bool = False) -> None:
        self._share = share
        self._eager = eager
        self._subtractor: cv2.BackgroundSubtractorMOG2 | None = None
        self._images = 0
        self._stamp_ns = 0

    def moving(self, image: ImageArray, stamp_ns: int) -> ImageArray:
        """Return 255 where the grey image is not the background, and learn from it.

        Nothing moves in the first image, nor in one in which nearly everything changed.
        """
        if self._subtractor is None:
            self._subtractor = cv2.createBackgroundSubtractorMOG2(500, _VARIANCES, False)
            self._subtractor.setBackgroundRatio(self._share)
            self._subtractor.apply(image, learningRate=1.0)
            self._stamp_ns = stamp_ns
        rate = (stamp_ns - self._stamp_ns) / NANOSECONDS / _MEMORY
        self._stamp_ns = stamp_ns
        self._images += 1
        if self._eager:
            rate = max(rate, 1 / self._images)
        moving = self._subtractor.apply(image, learningRate=min(rate, 1.0))
        if np.count_nonzero(moving) > _EVERYWHERE * moving.size:
            return np.zeros_like(image)
        return np.asarray(moving, np.uint8)
