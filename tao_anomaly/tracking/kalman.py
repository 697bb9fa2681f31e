"""Constant-velocity Kalman filter of many boxes at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tao_anomaly.tracking.camera_motion import CameraMotion

FloatArray64 = NDArray[np.float64]

# Standard deviations as shares of the box height, of ByteTrack (Zhang et al., ECCV 2022) and SORT's
# descendants. They hold for one frame of 30 Hz video; the powers of the rate make them per second.
_RATE = 30.0
_POSITION = 1 / 20
_VELOCITY = 1 / 160 * _RATE
_POSITION_NOISE = _POSITION**2 * _RATE
_VELOCITY_NOISE = _VELOCITY**2 * _RATE


@dataclass
class BoxFilter:
    """Filtered boxes: centre x, centre y, width, height and their rates, one row an object.

    The four values move independently, so a covariance is a 2x2 block a value:
    position `pp`, position-velocity `pv`, velocity `vv`, each ``(N, 4)``. position in pixels,
    velocity in pixels per second.
    """

    position: FloatArray64
    velocity: FloatArray64
    pp: FloatArray64
    pv: FloatArray64
    vv: FloatArray64

    @staticmethod
    def start(measured: FloatArray64) -> BoxFilter:
        """Return filters at rest on the measurements ``(N, 4)``."""
        height = measured[:, 3:4]
        zero = np.zeros_like(measured)
        return BoxFilter(
            measured.copy(),
            zero.copy(),
            zero + (2 * _POSITION * height) ** 2,
            zero.copy(),
            zero + (10 * _VELOCITY * height) ** 2,
        )

    def predict(self, seconds: float) -> None:
        """Move all objects on by a time, growing their uncertainty."""
        height = np.maximum(self.position[:, 3:4], 1.0)
        self.position = self.position + seconds * self.velocity
        self.position[:, 2:] = np.maximum(self.position[:, 2:], 1.0)
        self.pp = self.pp + 2 * seconds * self.pv + seconds**2 * self.vv
        self.pp += _POSITION_NOISE * seconds * height**2
        self.pv = self.pv + seconds * self.vv
        self.vv = self.vv + _VELOCITY_NOISE * seconds * height**2

    def move(self, motion: CameraMotion) -> None:
        """Carry all objects into the next image of a camera that moved."""
        places, rates = motion.points(self.position[:, :2]), self.velocity[:, :2] @ motion.linear.T
        self.position = np.concatenate([places, motion.scale * self.position[:, 2:]], axis=1)
        self.velocity = np.concatenate([rates, motion.scale * self.velocity[:, 2:]], axis=1)
        for name in ("pp", "pv", "vv"):
            setattr(self, name, getattr(self, name) * motion.scale**2)

    def correct(self, rows: NDArray[np.intp], measured: FloatArray64) -> None:
        """Take in the measurements ``(M, 4)`` of the objects `rows` ``(M,)``."""
        height = np.maximum(self.position[rows, 3:4], 1.0)
        innovation = measured - self.position[rows]
        spread = self.pp[rows] + (_POSITION * height) ** 2
        gain_p, gain_v = self.pp[rows] / spread, self.pv[rows] / spread
        self.position[rows] += gain_p * innovation
        self.velocity[rows] += gain_v * innovation
        self.vv[rows] -= gain_v * self.pv[rows]
        self.pv[rows] *= 1 - gain_p
        self.pp[rows] *= 1 - gain_p

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Forget all objects but `rows`."""
        for name in ("position", "velocity", "pp", "pv", "vv"):
            setattr(self, name, getattr(self, name)[rows])

    def append(self, other: BoxFilter) -> None:
        """Add the objects of another filter after these."""
        for name in ("position", "velocity", "pp", "pv", "vv"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))

    def __len__(self) -> int:
        return len(self.position)
