from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.config import (
    DetectorConfig,
    FeatureConfig,
    PipelineConfig,
    TrackerConfig,
    WindowConfig,
)
from tao_anomaly.detection.detector import Detector, Found, ImageOutput
from tao_anomaly.media.source import open_source
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.pipeline import Perception, Pipeline, PipelineResult
from tao_anomaly.structures import MOVING_OBJECT, AnomalyState, Frame
from tao_anomaly.windows import FeatureMismatchError


@pytest.fixture
def pipeline(fitted_model: Path, detector: Detector) -> Pipeline:
    artifact = load_artifact(fitted_model)
    return Pipeline.from_config(PipelineConfig(), artifact=artifact, detector=detector)


@pytest.fixture
def perception(detector: Detector) -> Perception:
    return Perception.from_config(PipelineConfig(), detector=detector)


@pytest.fixture(scope="module")
def frames(ped2: Path) -> list[Frame]:
    return list(islice(open_source(ped2 / "Test" / "Test004"), 6))


def ids(result: PipelineResult | None) -> set[str]:
    assert result is not None
    return set(result.scores.tracks.ids)


def test_every_stage_speaks_of_the_same_objects(pipeline: Pipeline, frames: list[Frame]) -> None:
    for index, frame in enumerate(frames):
        result = pipeline.process(frame)
        assert result is not None
        features, windows, scores = result.features, result.windows, result.scores
        assert features.tracks is windows.tracks is scores.tracks
        assert features.features.shape == (len(features.tracks), 543)
        assert {s.stamp_ns for s in (features, windows, scores)} == {frame.stamp_ns}
        assert {s.image_size for s in (features, windows, scores)} == {(240, 360)}
        assert features.feature_id == windows.feature_id == pipeline.perception.feature_id
        # Cues tell something of an object that is seen for the first time.
        assert np.isin(scores.states, (AnomalyState.NORMAL, AnomalyState.ANOMALOUS)).all()
        assert np.isfinite(scores.scores).all()
        assert windows.observations.max() == index + 1
    assert (windows.observations == 6).sum() >= 3
    assert pipeline.perception.epoch == 0
    assert pipeline.perception.class_names[0] == "person"


def test_the_same_images_give_the_same_scores(pipeline: Pipeline, frames: list[Frame]) -> None:
    first = [pipeline.process(frame) for frame in frames[:3]]
    pipeline.reset()
    second = [pipeline.process(frame) for frame in frames[:3]]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.features.features, b.features.features)
        assert np.array_equal(a.scores.scores, b.scores.scores, equal_nan=True)
        assert [i.replace("0-", "1-", 1) for i in a.scores.tracks.ids] == list(b.scores.tracks.ids)


def test_a_blank_image_is_an_empty_result(pipeline: Pipeline, frames: list[Frame]) -> None:
    pipeline.process(frames[0])
    blank = replace(frames[1], image=np.full((240, 360, 3), 114, np.uint8))
    result = pipeline.process(blank)
    assert ids(result) == set()
    assert result.features.features.shape == (0, 543)
    assert result.windows.features.shape == (0, 16, 543)
    assert np.isnan(result.scores.frame_score)
    assert result.events == []
    assert not pipeline.perception.skipped


def test_objects_age_in_images_without_any(perception: Perception, frames: list[Frame]) -> None:
    """People who come back after 1.7 s are new: a track is remembered for 1.5 s."""
    blank = np.zeros((240, 360, 3), np.uint8)
    first = {i for frame in frames[:2] for i in perception.process(frame).tracks.ids}
    for tenths in (10, 17):
        assert len(perception.process(Frame(blank, tenths * 10**8, tenths)).tracks) == 0
    back = set(perception.process(replace(frames[2], stamp_ns=18 * 10**8)).tracks.ids)
    assert len(back) >= 3
    assert not first & back
    assert perception.epoch == 0


def test_bad_images_are_counted_and_change_nothing(
    perception: Perception, detector: Detector, frames: list[Frame]
) -> None:
    undisturbed = Perception.from_config(PipelineConfig(), detector=detector)
    empty = np.zeros((0, 0, 3), np.uint8)
    for index, frame in enumerate(frames[:3]):
        got, wanted = perception.process(frame), undisturbed.process(frame)
        assert got.tracks.ids == wanted.tracks.ids
        assert np.array_equal(got.features, wanted.features)
        assert perception.process(replace(frame, image=empty, stamp_ns=index)) is None
        assert perception.process(replace(frame, image=frame.image[:100])) is None  # same stamp
    assert perception.skipped == {"empty image": 3, "duplicate stamp": 3}
    assert perception.epoch == 0


def test_an_image_that_fails_leaves_the_stream_as_it_was(
    perception: Perception, frames: list[Frame]
) -> None:
    first = perception.process(frames[0])
    broken = Frame(np.zeros((5, 5), np.float64), 10**12, 1)  # no image, and a gap
    with pytest.raises(Exception, match=r".+"):
        perception.process(broken)
    second = perception.process(frames[1])
    assert perception.epoch == 0
    assert set(first.tracks.ids) & set(second.tracks.ids)


def test_an_image_whose_objects_cannot_be_told_leaves_the_stream_as_it_was(
    detector: Detector, frames: list[Frame]
) -> None:
    """Its comparison with the image before has begun by then."""

    class Failing(Detector):
        fails = False

        def found(self, output: ImageOutput) -> Found:
            if self.fails:
                raise ValueError("out of memory")
            return super().found(output)

    failing = Failing(backend=detector.backend, config=detector.config)
    disturbed, undisturbed = (
        Perception.from_config(PipelineConfig(), detector=each) for each in (failing, detector)
    )
    for index in (0, 1, 3):
        failing.fails = True
        with pytest.raises(ValueError, match="out of memory"):
            disturbed.process(replace(frames[2], stamp_ns=10**12))
        failing.fails = False
        got, wanted = disturbed.process(frames[index]), undisturbed.process(frames[index])
        assert got.tracks.ids == wanted.tracks.ids
        np.testing.assert_array_equal(got.features, wanted.features)
    assert disturbed.epoch == 0


def test_a_jump_in_time_or_size_begins_an_epoch(pipeline: Pipeline, frames: list[Frame]) -> None:
    first = replace(frames[0], stamp_ns=100 * 10**9)
    assert {i.partition("-")[0] for i in ids(pipeline.process(first))} == {"100"}
    back = pipeline.process(frames[1])
    assert {i.partition("-")[0] for i in ids(back)} == {"101"}
    assert set(back.windows.observations.tolist()) == {1}
    cropped = replace(frames[2], image=np.ascontiguousarray(frames[2].image[:, :300]))
    result = pipeline.process(cropped)
    assert {i.partition("-")[0] for i in ids(result)} == {"102"}
    assert result.scores.epoch == pipeline.perception.epoch == 102
    assert result.scores.image_size == (240, 300)


def test_a_model_of_other_features_is_refused(fitted_model: Path, detector: Detector) -> None:
    other = PipelineConfig(features=FeatureConfig(grid=3))
    with pytest.raises(FeatureMismatchError, match="use the detector weights and settings it was"):
        Pipeline.from_config(other, artifact=load_artifact(fitted_model), detector=detector)


def test_settings_out_of_bounds_are_refused(detector: Detector) -> None:
    wrong = PipelineConfig(windows=WindowConfig(hop=0))
    with pytest.raises(ValueError, match=r"WindowConfig\.hop: got 0"):
        Perception.from_config(wrong, detector=detector)


def test_a_model_fitted_with_other_settings_is_used_with_a_warning(
    fitted_model: Path, detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = load_artifact(fitted_model)
    Pipeline.from_config(PipelineConfig(), artifact=artifact, detector=detector)
    assert caplog.messages == []
    other = PipelineConfig(windows=WindowConfig(hop=5), tracker=TrackerConfig(lifetime=3.0))
    Pipeline.from_config(other, artifact=artifact, detector=detector)
    (message,) = caplog.messages
    assert "tracker.lifetime: got 3.0, expected 1.5; windows.hop: got 5, expected 1" in message
    assert "fit it again" in message


def test_a_model_of_a_still_camera_is_refused_where_the_camera_moves(
    fitted_model: Path, detector: Detector
) -> None:
    moving = PipelineConfig(tracker=TrackerConfig(camera_motion="compensate"))
    with pytest.raises(FeatureMismatchError, match="fit it again"):
        Pipeline.from_config(moving, artifact=load_artifact(fitted_model), detector=detector)


def play_square(perception: Perception) -> list[tuple[int, ...]]:
    """Show a square that goes over a wall, which no network has a class for; return the classes."""
    wall = np.random.default_rng(0).integers(90, 130, (240, 384, 3)).astype(np.uint8)
    classes = []
    for index in range(40):
        image = wall.copy()
        image[100:116, 20 + 4 * index : 36 + 4 * index] = 250
        features = perception.process(Frame(image, index * 10**8, index))
        assert features is not None
        classes.append(tuple(features.tracks.class_ids.tolist()))
    return classes


def test_what_moves_without_a_class_is_tracked_where_the_camera_stands(detector: Detector) -> None:
    config = PipelineConfig(detector=replace(detector.config, moving_confidence=0.5))
    perception = Perception.from_config(config, detector=detector)
    classes = play_square(perception)
    assert classes[:30] == [()] * 30
    assert classes[30:] == [(MOVING_OBJECT,)] * 10
    assert perception.class_names[MOVING_OBJECT] == "moving object"
    perception.reset()
    assert play_square(perception) == classes


@pytest.mark.parametrize(
    "config",
    [
        PipelineConfig(),
        PipelineConfig(
            detector=DetectorConfig(moving_confidence=0.5),
            tracker=TrackerConfig(camera_motion="compensate"),
        ),
    ],
)
def test_it_is_left_out_where_not_wanted_or_the_camera_moves(
    config: PipelineConfig, detector: Detector
) -> None:
    perception = Perception.from_config(config, detector=detector)
    assert set(play_square(perception)) == {()}
    assert MOVING_OBJECT not in perception.class_names
