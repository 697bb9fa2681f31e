from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from tao_anomaly.visualization.ground_plane import GroundCamera

MATRIX = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])


def camera(*, height: float = 3.0, pitch: float = 0.0, distortion: object = ()) -> GroundCamera:
    return GroundCamera(
        matrix=MATRIX,
        distortion=np.array(distortion, float),
        height=height,
        pitch=math.radians(pitch),
    )


def test_a_level_camera_by_hand() -> None:
    # 100 pixels below the centre is a slope of 1/5: 3 m down are 15 m ahead
    points = camera().on_ground(np.array([[320, 340], [420, 340]], np.float32))
    np.testing.assert_allclose(points, [[0, 3, 15], [3, 3, 15]], atol=1e-9)


def test_a_camera_that_looks_down_by_hand() -> None:
    # At 45 degrees the image's centre shows the ground at 3 * sqrt(2) m, straight along z.
    points = camera(pitch=45).on_ground(np.array([[320, 240]], np.float32))
    np.testing.assert_allclose(points, [[0, 0, 3 * math.sqrt(2)]], atol=1e-9)


def test_every_point_lies_on_the_ground() -> None:
    tilted = camera(pitch=20, height=5)
    pixels = np.random.default_rng(0).uniform([0, 200], [640, 480], (50, 2)).astype(np.float32)
    np.testing.assert_allclose(tilted.on_ground(pixels) @ tilted.down, 5.0)


@pytest.mark.parametrize("row", [0, 239, 240, 240.5])
def test_the_horizon_and_the_sky_are_nowhere(row: float) -> None:
    """Half a pixel below the horizon is 3 km away."""
    assert np.isnan(camera().on_ground(np.array([[320, row]], np.float32))).all()


def test_boxes_stand_on_their_lower_edge() -> None:
    boxes = np.array([[310, 280, 330, 340], [0, 0, 10, 20]], np.float32)
    feet, sizes = camera().standing(boxes)
    np.testing.assert_allclose(feet[0], [0, 3, 15], atol=1e-9)
    np.testing.assert_allclose(sizes[0], [0.6, 1.8])  # 20 x 60 pixels at 15 m
    assert np.isnan(feet[1]).all()
    assert np.isnan(sizes[1]).all()


def test_no_box_stands_nowhere() -> None:
    feet, sizes = camera().standing(np.zeros((0, 4), np.float32))
    assert (feet.shape, sizes.shape) == ((0, 3), (0, 2))


def test_lens_distortion_is_removed() -> None:
    lens = [-0.2, 0.05, 0.0, 0.0, 0.0]
    seen, _ = cv2.projectPoints(
        np.array([[2.0, 3.0, 10.0]]), np.zeros(3), np.zeros(3), MATRIX, np.array(lens)
    )
    found = camera(distortion=lens).on_ground(seen.reshape(1, 2).astype(np.float32))
    np.testing.assert_allclose(found, [[2, 3, 10]], atol=0.01)


def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="calibrate the camera"):
        GroundCamera(np.zeros((3, 3)), np.zeros(0), 3.0, 0.0)
    with pytest.raises(ValueError, match="expected above 0"):
        camera(height=0.0)
