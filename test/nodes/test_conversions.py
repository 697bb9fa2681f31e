"""Structures survive the way through messages, and foreign messages are checked."""

from __future__ import annotations

import array
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D

from tao_anomaly.nodes import conversions as convert
from tao_anomaly.nodes.image_conversions import to_time
from tao_anomaly.structures import (
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
    TrackFeatures,
    Tracks,
    TrackWindows,
)

STAMP_NS = 1_700_000_000_123_456_789
NAN = float("nan")


def header() -> Header:
    return Header(stamp=to_time(STAMP_NS), frame_id="camera")


def over_the_wire(message: Any) -> Any:
    return deserialize_message(serialize_message(message), type(message))


def assert_same(got: Any, expected: Any) -> None:
    """Compare structures bit by bit, NaN equal to NaN."""
    assert type(got) is type(expected)
    for entry in fields(expected):
        a, b = getattr(got, entry.name), getattr(expected, entry.name)
        if is_dataclass(b):
            assert_same(a, b)
        elif isinstance(b, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=entry.name, strict=True)
        else:
            assert a == b or (math.isnan(a) and math.isnan(b)), entry.name


@pytest.fixture
def tracks() -> Tracks:
    return Tracks(
        ids=("2-7", "2-11"),
        boxes=np.array([[0.1, 0.2, 33.3, 44.4], [-5.7, 100.01, 359.9, 240]], np.float32),
        scores=np.array([0.91, 0.051], np.float32),
        class_ids=np.array([0, 79]),
        ages=np.array([0, 1234]),
        states=np.array([0, 2]),
    )


@pytest.fixture
def features(tracks: Tracks) -> TrackFeatures:
    values = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    return TrackFeatures(STAMP_NS, 2, (240, 360), tracks, values, "abc123")


@pytest.fixture
def windows(tracks: Tracks) -> TrackWindows:
    random = np.random.default_rng(1)
    return TrackWindows(
        stamp_ns=STAMP_NS,
        epoch=2,
        image_size=(240, 360),
        tracks=tracks,
        observations=np.array([1, 4]),
        index=np.array([1]),
        features=random.normal(size=(1, 4, 5)).astype(np.float32),
        times=np.array([[-0.3, -0.2, -0.1, 0.0]], np.float32),
        valid=np.array([[False, True, True, True]]),
        stays=np.array([12.3], np.float32),
        feature_id="abc123",
    )


@pytest.fixture
def scores(tracks: Tracks) -> AnomalyScores:
    return AnomalyScores(
        stamp_ns=STAMP_NS,
        epoch=2,
        image_size=(240, 360),
        tracks=tracks,
        observations=np.array([1, 4]),
        states=np.array([AnomalyState.WARMUP, AnomalyState.ANOMALOUS], np.int64),
        scores=np.array([NAN, 3.25], np.float32),
        raw=np.array([NAN, 4.5], np.float32),
        terms=np.array([[NAN, NAN], [1.5, 3.0]], np.float32),
        term_names=("appearance", "speed"),
        contributions=np.array([[NAN, NAN], [0.75, 2.5]], np.float32),
        leading=("", "speed"),
        cues=("", "3.1x usual speed"),
        threshold=2.5,
        model_id="def456",
    )


def test_features_survive_the_wire_bit_by_bit(features: TrackFeatures) -> None:
    message = over_the_wire(convert.features_message(features, header()))
    assert message.header == header()
    assert_same(convert.features_from(message), features)


def test_windows_survive_the_wire_bit_by_bit(windows: TrackWindows) -> None:
    message = over_the_wire(convert.windows_message(windows, header()))
    assert message.header == header()
    assert_same(convert.windows_from(message), windows)


def test_scores_survive_the_wire_bit_by_bit(scores: AnomalyScores) -> None:
    message = over_the_wire(convert.scores_message(scores, header(), window_length=4))
    assert (message.window_length, message.frame_score) == (4, 3.25)
    assert_same(convert.scores_from(message), scores)


def test_an_image_without_objects_is_an_array_without_objects() -> None:
    none = Tracks.empty()
    features = TrackFeatures(STAMP_NS, 0, (240, 360), none, np.zeros((0, 5), np.float32), "abc")
    message = over_the_wire(convert.features_message(features, header()))
    assert (len(message.tracks), message.feature_dim, len(message.features)) == (0, 5, 0)
    assert_same(convert.features_from(message), features)


def test_an_event_keeps_its_times_to_the_nanosecond() -> None:
    event = AnomalyEvent(
        phase=EventPhase.END,
        event_id="2-7/1",
        track_id="2-7",
        class_id=3,
        start_ns=STAMP_NS - 1_234_567_891,
        duration=1.234567891,
        peak_score=4.5,
        threshold=2.5,
        box=np.array([1, 2, 3, 4], np.float32),
        model_id="def456",
    )
    message = over_the_wire(convert.event_message(event, header()))
    assert (message.duration.sec, message.duration.nanosec) == (1, 234_567_891)
    assert_same(convert.event_from(message), event)


def test_boxes_are_centre_and_size() -> None:
    message = convert.box_message(np.array([10, 20, 30, 60], np.float32))
    expected = BoundingBox2D(size_x=20.0, size_y=40.0)
    expected.center.position.x, expected.center.position.y = 20.0, 40.0
    assert message == expected


def test_detections_name_class_score_and_track(tracks: Tracks) -> None:
    message = over_the_wire(convert.detections_message(tracks, header()))
    assert [d.id for d in message.detections] == ["2-7", "2-11"]
    result = message.detections[1].results[0].hypothesis
    assert (result.class_id, result.score) == ("79", pytest.approx(0.051))
    assert message.detections[1].header == header()


def test_class_names_survive() -> None:
    names = {0: "person", 79: "toothbrush"}
    message = over_the_wire(convert.label_info_message(names, 0.05, header()))
    assert convert.class_names_from(message) == names
    assert message.threshold == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("features", array.array("f", [1.0] * 9), r"features: got 9 values, expected 2 x 5 = 10"),
        ("feature_dim", 6, r"features: got 10 values, expected 2 x 6 = 12"),
        ("image_width", 0, r"got an image of 0x240"),
    ],
)
def test_features_of_wrong_size_are_refused(
    features: TrackFeatures, field: str, value: Any, problem: str
) -> None:
    message = convert.features_message(features, header())
    setattr(message, field, value)
    with pytest.raises(ValueError, match=problem):
        convert.features_from(message)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("index", array.array("H", [2]), "index: got 2, expected less than the 2 tracks"),
        ("index", array.array("H", [0, 1]), r"features: got 20 values, expected 2 x 4 x 5 = 40"),
        ("observations", array.array("H", [1]), "observations: got 1 values, expected 2"),
        ("times", array.array("f"), "times: got 0 values, expected 1 x 4 = 4"),
        ("valid", array.array("B", [1] * 5), "valid: got 5 values"),
        ("stays", array.array("f", [1.0, 2.0]), "stays: got 2 values, expected 1"),
        ("window_length", 0, "features: got 20 values"),
    ],
)
def test_windows_of_wrong_size_are_refused(
    windows: TrackWindows, field: str, value: Any, problem: str
) -> None:
    message = convert.windows_message(windows, header())
    setattr(message, field, value)
    with pytest.raises(ValueError, match=problem):
        convert.windows_from(message)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("class_id", "person", "class_id: got 'person', expected a decimal number"),
        ("state", 9, "9 is not a valid TrackState"),
        ("id", "2-11", "expected each once"),
    ],
)
def test_a_track_that_makes_no_sense_is_refused(
    features: TrackFeatures, field: str, value: Any, problem: str
) -> None:
    message = convert.features_message(features, header())
    setattr(message.tracks[0], field, value)
    with pytest.raises(ValueError, match=problem):
        convert.features_from(message)


def test_scores_with_too_few_terms_are_refused(scores: AnomalyScores) -> None:
    message = convert.scores_message(scores, header(), window_length=4)
    message.objects[1].terms = array.array("f", [1.0])
    with pytest.raises(ValueError, match="terms: got 1 values, expected 2"):
        convert.scores_from(message)
