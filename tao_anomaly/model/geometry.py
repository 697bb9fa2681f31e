"""Motion, place and size of a window in units of the scene: person heights and seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.structures import BoolArray, FloatArray

MOTION = (
    "displacement_x",
    "displacement_y",
    "velocity_x",
    "velocity_y",
    "speed",
    "size_rate",
    "relative_log_height",
    "log_aspect",
)
PLACE = ("x", "y", "relative_log_height", "log_aspect", "log_person_height")

_COLUMN = {name: i for i, name in enumerate(KINEMATICS)}


@dataclass(frozen=True)
class WindowAnchor:
    """What the motion of a window is measured against.

    centre ``(M, 2)``: mean box centre of the valid steps in image heights. person ``(M,)``: height
    of a person at that place, in image heights.
    """

    centre: FloatArray
    person: FloatArray


def window_anchor(
    kinematics: FloatArray, valid: BoolArray, aspect: FloatArray, scale: SceneScale
) -> WindowAnchor:
    """Return the anchor of each window.

    kinematics ``(M, T, 15)`` in the order of ``KINEMATICS``, valid ``(M, T)`` with at least one
    True a window, aspect ``(M,)``: width over height of the image.
    """
    box_height = np.exp(kinematics[..., _COLUMN["log_height"]])
    bottom = kinematics[..., _COLUMN["y"]] + box_height / 2
    person = scale.person_height(
        bottom.reshape(-1).astype(np.float32), box_height.reshape(-1).astype(np.float32)
    )
    return WindowAnchor(
        centre=_valid_mean(_centres(kinematics, aspect), valid),
        person=_valid_mean(person.reshape(*bottom.shape, 1), valid)[:, 0],
    )


def window_motion(kinematics: FloatArray, aspect: FloatArray, anchor: WindowAnchor) -> FloatArray:
    """Return ``(M, T, 8)`` in the order of ``MOTION``: person heights, seconds, natural logs."""
    person = anchor.person[:, None]
    displacement = (_centres(kinematics, aspect) - anchor.centre[:, None]) / person[..., None]
    velocity_x = kinematics[..., _COLUMN["velocity_x"]] / person
    velocity_y = kinematics[..., _COLUMN["velocity_y"]] / person
    log_height = kinematics[..., _COLUMN["log_height"]]
    columns = (
        displacement[..., 0],
        displacement[..., 1],
        velocity_x,
        velocity_y,
        np.hypot(velocity_x, velocity_y),  # people walk either way: the speed is what is usual
        kinematics[..., _COLUMN["size_rate"]],
        log_height - np.log(person),
        kinematics[..., _COLUMN["log_width"]] + np.log(aspect)[:, None] - log_height,
    )
    return np.stack(columns, axis=-1).astype(np.float32)


def window_place(
    motion: FloatArray, valid: BoolArray, aspect: FloatArray, anchor: WindowAnchor
) -> FloatArray:
    """Return ``(M, 5)`` in the order of ``PLACE``, means over the valid steps of `motion`."""
    mean = _valid_mean(motion, valid)
    columns = (
        anchor.centre[:, 0] / aspect,
        anchor.centre[:, 1],
        mean[:, MOTION.index("relative_log_height")],
        mean[:, MOTION.index("log_aspect")],
        np.log(anchor.person),
    )
    return np.stack(columns, axis=-1).astype(np.float32)


def _centres(kinematics: FloatArray, aspect: FloatArray) -> FloatArray:
    """Return box centres ``(M, T, 2)`` in image heights."""
    x = kinematics[..., _COLUMN["x"]] * aspect[:, None]
    return np.stack((x, kinematics[..., _COLUMN["y"]]), axis=-1)


def _valid_mean(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Return the mean ``(M, K)`` of values ``(M, T, K)`` over the valid steps."""
    total = np.where(valid[..., None], values, 0.0).sum(axis=1)
    return total / np.maximum(valid.sum(axis=1), 1)[:, None]
