"""Where boxes stand on the ground: rays through their lower edge, cut with a plane.

Coordinates are those of a camera's optical frame (REP 103): x to the right, y down, z forward,
metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tao_anomaly.structures import FloatArray

FARTHEST = 200.0  # metres; near the horizon a pixel is a street


@dataclass(frozen=True)
class GroundCamera:
    """A camera without roll over flat ground.

    matrix ``(3, 3)`` and distortion ``(D,)``: as in sensor_msgs/CameraInfo. height: metres over the
    ground. pitch: radians that it looks down from the horizon. Raises ValueError for a matrix
    without focal length and for a height that is not above 0.
    """

    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    height: float
    pitch: float

    def __post_init__(self) -> None:
        if not (self.matrix[0, 0] > 0 and self.matrix[1, 1] > 0):
            raise ValueError(
                f"camera matrix: got focal lengths {self.matrix[0, 0]:g} and"
                f" {self.matrix[1, 1]:g}, expected above 0; calibrate the camera"
            )
        if not self.height > 0:
            raise ValueError(f"camera height: got {self.height} m, expected above 0")

    @property
    def down(self) -> NDArray[np.float64]:
        """Unit vector ``(3,)`` towards the ground."""
        return np.array([0.0, math.cos(self.pitch), math.sin(self.pitch)])

    def on_ground(self, pixels: FloatArray) -> NDArray[np.float64]:
        """Return the points ``(N, 3)`` of the ground seen at pixels ``(N, 2)``.

        NaN for a pixel at the horizon or above, and beyond FARTHEST.
        """
        rays = self._rays(pixels)
        towards = rays @ self.down
        with np.errstate(divide="ignore", invalid="ignore"):
            points = rays * np.where(towards > 0, self.height / towards, np.nan)[:, None]
        points[np.linalg.norm(points, axis=1) > FARTHEST] = np.nan
        return points

    def standing(self, boxes: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where boxes ``(N, 4)`` stand ``(N, 3)``, and their width and height ``(N, 2)``.

        All in metres, NaN as in `on_ground`. The size is that of a flat thing that faces the
        camera.
        """
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        points = self.on_ground(feet)
        focal = np.array([self.matrix[0, 0], self.matrix[1, 1]])
        return points, (boxes[:, 2:] - boxes[:, :2]) * points[:, 2:] / focal

    def _rays(self, pixels: FloatArray) -> NDArray[np.float64]:
        """Return directions ``(N, 3)`` with z = 1."""
        if not len(pixels):
            return np.zeros((0, 3))
        distortion = self.distortion if self.distortion.any() else None
        flat = cv2.undistortPoints(
            np.asarray(pixels, np.float64)[:, None], self.matrix, distortion
        )[:, 0]
        return np.hstack([flat, np.ones((len(flat), 1))])
