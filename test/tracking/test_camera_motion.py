"""Real images under exactly known pans, shakes and zooms."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.config import PipelineConfig, TrackerConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.features.kinematics import KINEMATICS, KinematicsEstimator
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Detections, FloatArray, Frame, ImageArray
from tao_anomaly.tracking.byte_track import ByteTracker
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion, CameraMotionEstimator
from tao_anomaly.tracking.kalman import BoxFilter

COUNT = 8
VELOCITY = slice(KINEMATICS.index("velocity_x"), KINEMATICS.index("velocity_y") + 1)
SIZE_RATE = KINEMATICS.index("size_rate")
NONE = np.zeros((0, 4), np.float32)


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> CameraMotion:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return CameraMotion(scale * turn, np.array(shift, np.float64))


def pose(kind: str, index: int) -> CameraMotion:
    """Where points of the still scene lie in image `index` of a moving camera."""
    if kind == "pan":
        return similarity(1.0, 0.0, (-4.0 * index, 1.0 * index))
    if kind == "shake":
        x, y, angle = np.random.default_rng(index).normal(0, (3.0, 3.0, 0.005))
        return similarity(1.0, angle, (x, y))
    return similarity(1.01**index, 0.0, (-1.8 * index, -1.2 * index))


def seen(image: ImageArray, where: CameraMotion) -> ImageArray:
    """Return the scene as the camera sees it; pixel centres lie at half pixels."""
    shift = where.shift + where.linear @ np.full(2, 0.5) - 0.5
    matrix = np.concatenate([where.linear, shift[:, None]], axis=1)
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    )


@pytest.fixture(scope="module")
def images(ped2: Path) -> list[ImageArray]:
    paths = sorted((ped2 / "Test" / "Test004").glob("*.jpg"))[60 : 60 + COUNT]
    return [np.asarray(cv2.imread(str(path))) for path in paths]


@pytest.fixture(scope="module")
def found(images: list[ImageArray], detector: Detector) -> list[Detections]:
    return [detector.detect(image)[0] for image in images]


def moved(detections: Detections, where: CameraMotion) -> Detections:
    boxes = [where.box(box) for box in detections.boxes]
    return replace(detections, boxes=np.array(boxes, np.float32).reshape(-1, 4))


def follow(
    found: list[Detections], motions: list[CameraMotion]
) -> tuple[list[tuple[str, ...]], FloatArray]:
    """Return the ids of each image and the rates of all its objects, ten images a second."""
    tracker, kinematics = ByteTracker(TrackerConfig()), KinematicsEstimator(span=0.5)
    ids, rates = [], []
    for index, (detections, motion) in enumerate(zip(found, motions, strict=True)):
        tracks = tracker.update(detections, index * 10**8, motion)
        values = kinematics.update(tracks, index * 10**8, (240, 360), motion)
        ids.append(tracks.ids)
        rates.append(values[:, VELOCITY.start :])
    return ids, np.concatenate(rates)


@pytest.mark.parametrize("kind", ["pan", "shake", "zoom"])
def test_known_motion_is_found_beside_walking_people(
    kind: str, images: list[ImageArray], found: list[Detections]
) -> None:
    estimator = CameraMotionEstimator()
    corners = np.array([[0, 0], [360, 0], [0, 240], [360, 240]], np.float64)
    errors = []
    for index, image in enumerate(images):
        where = pose(kind, index)
        motion = estimator.update(seen(image, where), moved(found[index], where).boxes)
        if index == 0:
            assert motion is STILL
            continue
        true = where.after(pose(kind, index - 1).inverse())
        errors.append(np.abs(motion.points(corners) - true.points(corners)).max())
    assert np.median(errors) < 0.3
    assert max(errors) < 0.8  # pixels, at the corner where it is worst
    assert estimator.unknown == 0


def test_motion_of_a_large_image_is_in_its_own_pixels(images: list[ImageArray]) -> None:
    large = [cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for image in images]
    estimator = CameraMotionEstimator()
    estimator.update(large[0], NONE)
    motion = estimator.update(seen(large[0], similarity(1.02, 0.0, (12.0, -6.0))), NONE)
    np.testing.assert_allclose(motion.points(np.array([[540.0, 360.0]])), [[562.8, 361.2]], atol=1)
    assert motion.scale == pytest.approx(1.02, abs=0.002)


@pytest.mark.parametrize("kind", ["pan", "shake", "zoom"])
def test_ids_and_speeds_are_those_of_the_still_video(
    kind: str, images: list[ImageArray], found: list[Detections]
) -> None:
    still_ids, still = follow(found, [STILL] * COUNT)
    there = [moved(detections, pose(kind, i)) for i, detections in enumerate(found)]
    estimator = CameraMotionEstimator()
    motions = [
        estimator.update(seen(image, pose(kind, i)), there[i].boxes)
        for i, image in enumerate(images)
    ]
    ids, rates = follow(there, motions)
    assert len(set().union(*still_ids)) >= 8
    assert ids == still_ids
    # Image heights a second; people walk at some 0.15 here.
    errors = np.abs(rates[:, :2] - still[:, :2]).max(axis=1)
    assert np.median(errors) < 0.01
    assert np.quantile(errors, 0.95) < 0.06
    ignored = follow(there, [STILL] * COUNT)[1]
    if len(ignored) == len(still):
        blind = np.abs(ignored[:, :2] - still[:, :2]).max(axis=1)
        assert np.median(blind) > 5 * np.median(errors)


def test_a_box_in_a_zoom_neither_moves_nor_grows() -> None:
    """Exact motions: a fixed object under a camera that turns and comes closer has rates 0."""
    step = similarity(1.05, 0.02, (7.0, -3.0))
    one = np.array([[100, 80, 120, 130]], np.float32)
    boxes, rates = [one], []
    for _ in range(6):
        boxes.append(np.array([step.box(boxes[-1][0])], np.float32))
    found = [Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64)) for box in boxes]
    ids, rates = follow(found, [STILL, *[step] * 6])
    assert set(ids) == {("0-1",)}
    np.testing.assert_allclose(rates, 0.0, atol=1e-4)


def test_motions_chain_and_invert() -> None:
    first = CameraMotion(np.array([[0.0, -2.0], [2.0, 0.0]]), np.array([1.0, 0.0]))
    second = CameraMotion(np.eye(2), np.array([0.0, 5.0]))
    point = np.array([[3.0, 4.0]])
    np.testing.assert_allclose(first.points(point), [[-7.0, 6.0]])
    np.testing.assert_allclose(second.after(first).points(point), [[-7.0, 11.0]])
    np.testing.assert_allclose(first.inverse().points(first.points(point)), point)
    assert first.scale == pytest.approx(2.0)
    # centre (20, 30) -> (-59, 40); sides 10 x 20 doubled, upright
    np.testing.assert_allclose(first.box(np.array([15, 20, 25, 40])), [-69, 20, -49, 60])


def test_the_filter_is_carried_along() -> None:
    filters = BoxFilter.start(np.array([[10.0, 20.0, 4.0, 8.0]]))
    filters.velocity = np.array([[1.0, 2.0, 0.5, 0.25]])
    spread = filters.pp.copy()
    filters.move(CameraMotion(np.array([[0.0, -2.0], [2.0, 0.0]]), np.array([1.0, 0.0])))
    np.testing.assert_allclose(filters.position, [[-39.0, 20.0, 8.0, 16.0]])
    np.testing.assert_allclose(filters.velocity, [[-4.0, 2.0, 1.0, 0.5]])
    np.testing.assert_allclose(filters.pp, 4 * spread)


def test_without_background_the_camera_counts_as_still(
    images: list[ImageArray], caplog: pytest.LogCaptureFixture
) -> None:
    estimator, everything = CameraMotionEstimator(), np.array([[0, 0, 360, 240]], np.float32)
    with caplog.at_level(logging.WARNING):
        motions = [estimator.update(image, everything) for image in images[:4]]
    assert motions == [STILL] * 4
    assert estimator.unknown == 3
    assert len(caplog.records) == 1  # not for each image
    blank = np.full((240, 360, 3), 90, np.uint8)
    assert estimator.update(blank, NONE) is STILL


def test_the_setting_reaches_the_stages(images: list[ImageArray], detector: Detector) -> None:
    moving = TrackerConfig(camera_motion="compensate")
    still = Perception.from_config(PipelineConfig(), detector=detector)
    perception = Perception.from_config(PipelineConfig(tracker=moving), detector=detector)
    assert perception.feature_id != still.feature_id  # the two never meet in one model
    for index in range(3):
        frame = Frame(seen(images[0], pose("pan", index)), index * 10**8, index)
        features = perception.process(frame)
    assert features is not None
    assert features.tracks.ids
    kinematics = features.features[:, perception.layout.kinematics_slice]
    # 4 pixels an image to the left would be -0.17 image heights a second.
    assert np.median(np.abs(kinematics[:, VELOCITY])) < 0.03
    perception.reset()
    again = perception.process(Frame(images[5], 0, 3))
    assert again is not None
    assert again.tracks.ids
    assert perception.camera is not None
    assert perception.camera.unknown == 0
