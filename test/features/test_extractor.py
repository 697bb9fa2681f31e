from __future__ import annotations

import gc
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tao_anomaly.config import DetectorConfig, FeatureConfig
from tao_anomaly.detection.detector import Detector, FeaturePyramid
from tao_anomaly.features.extractor import FeatureExtractor
from tao_anomaly.features.kinematics import KINEMATICS, TRACK_KINEMATICS, KinematicsEstimator
from tao_anomaly.features.optical_flow import BoxFlow
from tao_anomaly.structures import FeatureLayout, Frame, Tracks, TrackState

SIZE = (240, 360)
FRAME = Frame(np.zeros((*SIZE, 3), np.uint8), 0, 0)


@pytest.fixture(scope="module")
def seen(detector: Detector, ped2: Path) -> tuple[Tracks, FeaturePyramid]:
    """Objects of a real image and its pyramid, and a box that leaves the image."""
    found, pyramid = detector.detect(cv2.imread(str(ped2 / "Test/Test004/060.jpg")))
    boxes = np.concatenate([found.boxes, np.array([[340, 200, 360, 240]], np.float32)])
    count = len(boxes)
    zeros = np.zeros(count, np.int64)
    ids = tuple(f"0-{i}" for i in range(count))
    scores = np.ones(count, np.float32)
    return Tracks(ids, boxes, scores, zeros, zeros, zeros + int(TrackState.NEW)), pyramid


def extractor(detector: Detector, **settings: int) -> FeatureExtractor:
    return FeatureExtractor(detector=detector, config=FeatureConfig(**settings))


def test_a_vector_is_gap_then_kinematics_then_flow_then_classes(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid], ped2: Path
) -> None:
    tracks, pyramid = seen
    made = extractor(detector)
    assert made.layout == FeatureLayout(448, len(KINEMATICS), grid=0, classes=80)
    kinematics, flow = KinematicsEstimator(span=made.config.velocity_span), BoxFlow()
    for step, name in enumerate(("059", "060")):
        frame = Frame(cv2.imread(str(ped2 / f"Test/Test004/{name}.jpg")), step * 10**8, step)
        features = made.extract(tracks, pyramid, frame)
        place = kinematics.update(tracks, frame.stamp_ns, SIZE)
        moved = flow.update(frame, tracks.boxes)
    assert features.shape == (len(tracks), 463 + 80)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    found = features[:, made.layout.kinematics_slice]
    assert (KINEMATICS[:7], KINEMATICS[7]) == (TRACK_KINEMATICS, "flow_0")
    np.testing.assert_array_equal(found[:, :7], place)
    np.testing.assert_array_equal(found[:, 7:], moved)
    assert moved.any()
    np.testing.assert_array_equal(
        features[:, made.layout.appearance_slice], made.appearance(tracks.boxes, pyramid)
    )
    # Each box is of the class it scores highest in, and its score is that of its candidates.
    classes = features[:, made.layout.classes_slice]
    np.testing.assert_array_equal(classes, made.classes(tracks.boxes, pyramid))
    best = pyramid.candidates.class_scores[0]
    np.testing.assert_allclose(classes[0].max(), best.max(), rtol=2**-10)  # half floats
    assert classes[0].argmax() == best.argmax() == 0
    made.reset()
    after = made.extract(tracks, pyramid, replace(frame, stamp_ns=2 * 10**8))
    assert not after[:, made.layout.kinematics_slice][:, 4:].any()


def test_gap_is_the_mean_of_the_map_under_the_box(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid]
) -> None:
    """A box on whole cells of the finest level, sampled densely, is the plain mean of its cells."""
    _, pyramid = seen
    # Input 448x640, content 427 rows from row 10: columns 160..320 and rows 80..240 of the input.
    inputs = np.array([[160, 80, 320, 240]], np.float32)
    box = pyramid.letterbox.to_source(inputs)
    gap = extractor(detector, roi_bins=14, roi_samples=8).appearance(box, pyramid)[0, :64]
    level = pyramid.maps[0]
    inside = level[:, 10:30, 20:40].mean(dim=(1, 2)).numpy()
    around = level[:, 9:31, 19:41].mean(dim=(1, 2)).numpy()
    assert np.abs(gap - inside).max() < np.abs(around - inside).max() + 1e-3
    assert np.corrcoef(gap, inside)[0, 1] > 0.999


def test_levels_are_concatenated_finest_first(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid]
) -> None:
    tracks, pyramid = seen
    flat = tuple(
        torch.full_like(level, value) for level, value in zip(pyramid.maps, (1, 2, 3), strict=True)
    )
    gap = extractor(detector).appearance(tracks.boxes, replace(pyramid, maps=flat))
    expected = np.repeat([1, 2, 3], [64, 128, 256])
    np.testing.assert_allclose(gap, np.tile(expected, (len(tracks), 1)), rtol=1e-6)


def test_the_mean_of_the_grid_is_the_gap(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid]
) -> None:
    tracks, pyramid = seen
    made = extractor(detector, grid=7)
    features = made.extract(tracks, pyramid, FRAME)
    assert features.shape == (len(tracks), made.layout.dim) == (len(tracks), 543 + 49 * 448)
    cells = features[:, made.layout.grid_slice].reshape(len(tracks), 49, 448)
    gap = features[:, made.layout.appearance_slice]
    np.testing.assert_allclose(cells.mean(axis=1), gap, rtol=2**-10, atol=1e-4)  # half floats


def test_grid_cells_go_row_by_row(detector: Detector, seen: tuple[Tracks, FeaturePyramid]) -> None:
    _, pyramid = seen
    rows = tuple(
        torch.arange(level.shape[1], dtype=torch.float32)[None, :, None].expand_as(level).clone()
        for level in pyramid.maps
    )
    made = extractor(detector, grid=3)
    box = pyramid.letterbox.to_source(np.array([[160, 96, 352, 288]], np.float32))
    cells = made.grid(box, replace(pyramid, maps=rows)).reshape(3, 3, 448)
    np.testing.assert_allclose(cells[:, :, 0], [[15.5] * 3, [23.5] * 3, [31.5] * 3], atol=1e-3)


def test_no_tracks_give_no_rows(detector: Detector, seen: tuple[Tracks, FeaturePyramid]) -> None:
    _, pyramid = seen
    for grid in (0, 3):
        made = extractor(detector, grid=grid)
        assert made.extract(Tracks.empty(), pyramid, FRAME).shape == (0, made.layout.dim)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_image_begun_before_its_objects_are_known_gives_the_same(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid], ped2: Path, restarted: bool
) -> None:
    """Also where a new epoch begins with it: it is compared with nothing from before."""
    one, other = extractor(detector), extractor(detector)
    for step, name in enumerate(("058", "059", "060")):
        frame = Frame(cv2.imread(str(ped2 / f"Test/Test004/{name}.jpg")), step * 10**8, step)
        begun = one.begin(frame)
        if restarted and step == 2:
            one.reset()
            other.reset()
        found = one.extract(*seen, frame, begun=begun)
        np.testing.assert_array_equal(found, other.extract(*seen, frame))
    flow = found[:, one.layout.kinematics_slice][:, len(TRACK_KINEMATICS) :]
    assert flow.any() != restarted


def test_an_image_that_the_flow_cannot_read_is_an_error_and_no_end(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid]
) -> None:
    tracks, pyramid = seen
    made = extractor(detector)
    made.extract(tracks, pyramid, FRAME)
    with pytest.raises(cv2.error):
        made.extract(tracks, pyramid, Frame(np.zeros((*SIZE, 7), np.uint8), 10**8, 1))
    made.reset()
    assert made.extract(tracks, pyramid, FRAME).shape == (len(tracks), made.layout.dim)


def test_an_extractor_that_is_gone_leaves_no_thread(
    detector: Detector, seen: tuple[Tracks, FeaturePyramid]
) -> None:
    before = threading.active_count()
    for _ in range(5):
        extractor(detector).extract(*seen, FRAME)
    gc.collect()
    until = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_the_feature_id_tells_apart_whatever_changes_the_values(detector: Detector) -> None:
    base = extractor(detector).feature_id
    assert base == extractor(detector).feature_id
    assert len(base) == 12
    others = [
        extractor(detector, grid=3).feature_id,
        extractor(detector, roi_bins=5).feature_id,
        extractor(detector, roi_samples=1).feature_id,
        extractor(detector, velocity_span=1).feature_id,
    ]
    for changed in (DetectorConfig(input_size=320), DetectorConfig(confidence=0.2)):
        same_weights = Detector(backend=detector.backend, config=changed)
        others.append(extractor(same_weights).feature_id)
    # The confidence decides which objects are found, not what their features are.
    assert others.pop() == base
    assert len({base, *others}) == 6
