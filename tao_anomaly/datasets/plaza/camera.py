"""The camera over the square: a pinhole at a height above a flat ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_WIDEST = 16 / 9  # aspect up to which the whole height of the view is kept
_FOCAL = 1.6  # focal length in heights of a 16:9 image


@dataclass(frozen=True, kw_only=True)
class GroundCamera:
    """A pinhole camera that looks along +Y and down; the world is in metres.

    X is right, Y ahead, Z up, the origin on the ground below the camera. width, height: of the
    image in pixels. altitude: metres above the ground. pitch: radians below the horizon. An image
    of another size or shape is another sample, or a part, of the same view.
    """

    width: int
    height: int
    altitude: float = 7.0
    pitch: float = math.radians(20)

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return _FOCAL * max(self.height, self.width / _WIDEST)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return ``(N, 3)``: x and y in pixels (centres of pixels are whole), and pixels a metre.

        points: ``(N, 3)`` in metres, in front of the camera.
        """
        sine, cosine = math.sin(self.pitch), math.cos(self.pitch)
        ahead, below = points[:, 1], self.altitude - points[:, 2]
        scale = self.focal / np.maximum(ahead * cosine + below * sine, 0.1)
        x = (self.width - 1) / 2 + points[:, 0] * scale
        y = (self.height - 1) / 2 + (below * cosine - ahead * sine) * scale
        return np.stack([x, y, scale], axis=1)

    def plane(self, x: np.ndarray, y: np.ndarray, *, wall: float) -> tuple[np.ndarray, ...]:
        """Return the world X, Y, Z seen at pixels: the ground up to Y = `wall`, then the wall."""
        sine, cosine = math.sin(self.pitch), math.cos(self.pitch)
        right = (x - (self.width - 1) / 2) / self.focal
        down = (y - (self.height - 1) / 2) / self.focal
        ahead, fall = cosine - down * sine, sine + down * cosine
        distance = np.minimum(wall / ahead, self.altitude / np.maximum(fall, 1e-9))
        return right * distance, ahead * distance, self.altitude - fall * distance

    def half_width(self, ahead: float) -> float:
        """Return how far the widest view reaches to either side at `ahead` metres, in metres."""
        depth = ahead * math.cos(self.pitch) + self.altitude * math.sin(self.pitch)
        return depth * _WIDEST / (2 * _FOCAL)
