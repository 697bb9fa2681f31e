from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.structures import TrackFeatures

MakeFeatures = Callable[..., TrackFeatures]
H, W = 480, 640


def person_height(bottom: np.ndarray) -> np.ndarray:
    """Height of a person with feet at a row, all in image heights: horizon at 0.2."""
    return 0.5 * (bottom - 0.2)


def scene(
    make_features: MakeFeatures, count: int, *, outliers: float = 0.0, confidence: float = 0.9
) -> list[TrackFeatures]:
    random = np.random.default_rng(0)
    images = []
    for index in range(count):
        bottom = random.uniform(0.4, 0.95)
        height = person_height(bottom) * random.normal(1, 0.05)
        if random.random() < outliers:
            height *= random.uniform(0.2, 0.6)  # parts of people
        box = [100, (bottom - height) * H, 130, bottom * H]
        images.append(
            make_features(
                index, {"a": [0, 0, 0]}, boxes=[box], image_size=(H, W), confidence=confidence
            )
        )
    return images


@pytest.mark.parametrize(("outliers", "tolerance"), [(0.0, 0.02), (0.15, 0.08)])
def test_recovers_the_perspective_of_a_scene(
    make_features: MakeFeatures, outliers: float, tolerance: float
) -> None:
    scale = SceneScale.fit(scene(make_features, 400, outliers=outliers))
    rows = np.linspace(0.5, 0.95, 10, dtype=np.float32)
    got = scale.person_height(rows, np.full(10, 0.01, np.float32))
    np.testing.assert_allclose(got, person_height(rows), rtol=tolerance)


def test_the_line_is_held_within_what_was_seen(make_features: MakeFeatures) -> None:
    scale = SceneScale.fit(scene(make_features, 400))
    heights = scale.person_height(np.array([-5.0, 0.2, 9.0], np.float32), np.zeros(3, np.float32))
    assert 0 < scale.lowest < person_height(np.array(0.45))
    np.testing.assert_allclose(heights, [scale.lowest, scale.lowest, scale.highest], rtol=1e-6)


def test_few_people_give_one_height_for_the_scene(make_features: MakeFeatures) -> None:
    images = scene(make_features, 20)
    scale = SceneScale.fit(images)
    seen = [float(i.tracks.boxes[0, 3] - i.tracks.boxes[0, 1]) / H for i in images]
    got = scale.person_height(np.array([0.5, 0.9], np.float32), np.zeros(2, np.float32))
    np.testing.assert_allclose(got, np.median(seen), rtol=1e-6)


def test_without_people_the_boxes_keep_their_own_height(make_features: MakeFeatures) -> None:
    own = np.array([0.1, 0.3], np.float32)
    for images in ([], scene(make_features, 100, confidence=0.3)):
        scale = SceneScale.fit(images)
        assert scale == SceneScale()
        assert scale.person_height(np.array([0.5, 0.9], np.float32), own).tolist() == own.tolist()


def test_boxes_cut_off_by_the_image_are_left_out(make_features: MakeFeatures) -> None:
    cut = [
        make_features(i, {"a": [0] * 3}, boxes=[[0, 0, 30, 60 + i % 9]], image_size=(H, W))
        for i in range(500)
    ]
    low = [
        make_features(i, {"a": [0] * 3}, boxes=[[0, H - 40, 30, H]], image_size=(H, W))
        for i in range(500)
    ]
    whole = scene(make_features, 200)
    assert SceneScale.fit(cut + whole + low) == SceneScale.fit(whole)


def test_a_moving_camera_has_no_scene_scale(make_features: MakeFeatures) -> None:
    images = scene(make_features, 200)
    assert SceneScale.fit(images, camera_motion="static") == SceneScale.fit(images)
    moving = SceneScale.fit(images, camera_motion="compensate")
    heights = np.array([0.1, 0.4], np.float32)
    np.testing.assert_array_equal(moving.person_height(heights * 2, heights), heights)
