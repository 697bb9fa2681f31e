"""Rectangular letterbox: the source image scaled and padded to the detector's input."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tao_anomaly.structures import FloatArray, ImageArray

STRIDE = 32  # the coarsest level's stride: both sides of the input are multiples of it
PADDING = 114  # grey, as the detector was trained with
_SHARES = np.arange(256, dtype=np.float32) * np.float32(1 / 255)  # of each value of a pixel


@dataclass(frozen=True)
class Letterbox:
    """Geometry between a source image and the detector's input.

    source, content, padded: ``(height, width)`` in pixels of the source, of the scaled image and of
    the whole input. offset: ``(x, y)`` of the content in the input.
    """

    source: tuple[int, int]
    content: tuple[int, int]
    padded: tuple[int, int]
    offset: tuple[int, int]

    @staticmethod
    def fit(source: tuple[int, int], *, input_size: int) -> Letterbox:
        """Return the letterbox whose content has a long side of `input_size` pixels."""
        height, width = source
        ratio = input_size / max(height, width)
        content = max(1, round(height * ratio)), max(1, round(width * ratio))
        padded = tuple(-(-side // STRIDE) * STRIDE for side in content)
        offset = (padded[1] - content[1]) // 2, (padded[0] - content[0]) // 2
        return Letterbox(source, content, (padded[0], padded[1]), offset)

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels a source pixel, ``(x, y)``; rounding of the content makes them differ."""
        return self.content[1] / self.source[1], self.content[0] / self.source[0]

    def blob(self, image: ImageArray) -> FloatArray:
        """Return the input ``(1, 3, H, W)`` float32 in 0..1, RGB, of a ``(H, W, 3)`` BGR image.

        Raises ValueError for another shape or type: OpenCV would leave the frame empty.
        """
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise ValueError(
                f"got an image of shape {image.shape} and type {image.dtype}, expected (H, W, 3)"
                " and uint8, in the order blue, green, red; convert it"
            )
        padded = np.full((*self.padded, 3), PADDING, np.uint8)
        (left, top), (height, width) = self.offset, self.content
        inner = padded[top : top + height, left : left + width]
        cv2.resize(image, (width, height), dst=inner, interpolation=cv2.INTER_LINEAR)
        blob = np.empty((1, 3, *self.padded), np.float32)
        for plane, channel in zip(blob[0, ::-1], cv2.split(padded), strict=True):
            cv2.LUT(channel, _SHARES, dst=plane)  # faster than a product, and than blobFromImage
        return blob

    def to_input(self, boxes: FloatArray) -> FloatArray:
        """Return boxes ``(N, 4)`` of the source image in pixels of the input."""
        return (boxes * self._scales() + self._offsets()).astype(np.float32)

    def to_source(self, boxes: FloatArray) -> FloatArray:
        """Return boxes ``(N, 4)`` of the input in pixels of the source image."""
        return ((boxes - self._offsets()) / self._scales()).astype(np.float32)

    def _scales(self) -> np.ndarray:
        return np.array(self.scale * 2, np.float64)

    def _offsets(self) -> np.ndarray:
        return np.array(self.offset * 2, np.float64)
