from __future__ import annotations

import math

import numpy as np
import pytest

from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.geometry import MOTION, PLACE, window_anchor, window_motion, window_place

# x, y, log_width, log_height, velocity_x, velocity_y, size_rate; image twice as wide as high.
# Two steps: centre (0.5, 0.3) and (0.6, 0.3) in image heights, box 0.1 wide, 0.2 high.
STEPS = np.array(
    [
        [0.25, 0.3, math.log(0.1), math.log(0.2), 0.4, 0.0, 0.5],
        [0.30, 0.3, math.log(0.1), math.log(0.2), 0.4, -0.2, 0.0],
    ],
    np.float32,
)
ASPECT = np.array([2.0], np.float32)
# A person is 0.25 image heights everywhere.
SCALE = SceneScale(intercept=0.25, slope=0.0, lowest=0.1, highest=0.5)


def window(unused: int = 1) -> tuple[np.ndarray, np.ndarray]:
    padding = np.zeros((unused, 7), np.float32)
    valid = np.array([[False] * unused + [True, True]])
    return np.concatenate([padding, STEPS])[None], valid


def test_motion_is_measured_in_person_heights_from_the_mean_place() -> None:
    kinematics, valid = window()
    anchor = window_anchor(kinematics, valid, ASPECT, SCALE)
    assert anchor.person.tolist() == pytest.approx([0.25])
    assert anchor.centre[0].tolist() == pytest.approx([0.55, 0.3])
    motion = window_motion(kinematics, ASPECT, anchor)[0, 1:]
    by_name = dict(zip(MOTION, motion.T, strict=True))
    assert by_name["displacement_x"].tolist() == pytest.approx([-0.2, 0.2], abs=1e-5)
    assert by_name["displacement_y"].tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    assert by_name["velocity_x"].tolist() == pytest.approx([1.6, 1.6])
    assert by_name["velocity_y"].tolist() == pytest.approx([0.0, -0.8])
    assert by_name["speed"].tolist() == pytest.approx([1.6, (1.6**2 + 0.8**2) ** 0.5])
    assert by_name["size_rate"].tolist() == pytest.approx([0.5, 0.0])
    assert by_name["relative_log_height"].tolist() == pytest.approx([math.log(0.8)] * 2, abs=1e-6)
    assert by_name["log_aspect"].tolist() == pytest.approx([math.log(0.5 * 2)] * 2, abs=1e-6)


def test_place_is_the_mean_over_valid_steps_only() -> None:
    places = []
    for unused in (0, 3):
        kinematics, valid = window(unused)
        anchor = window_anchor(kinematics, valid, ASPECT, SCALE)
        motion = window_motion(kinematics, ASPECT, anchor)
        places.append(window_place(motion, valid, ASPECT, anchor)[0])
    np.testing.assert_allclose(places[0], places[1], atol=1e-6)
    by_name = dict(zip(PLACE, places[0].tolist(), strict=True))
    assert by_name == pytest.approx(
        {
            "x": 0.275,
            "y": 0.3,
            "relative_log_height": math.log(0.8),
            "log_aspect": 0.0,
            "log_person_height": math.log(0.25),
        },
        abs=1e-6,
    )


def test_without_a_scene_scale_the_box_is_the_unit() -> None:
    kinematics, valid = window()
    anchor = window_anchor(kinematics, valid, ASPECT, SceneScale())
    assert anchor.person.tolist() == pytest.approx([0.2])
