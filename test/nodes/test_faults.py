"""What goes wrong with cameras and neighbours is counted, told and never spliced over."""

from __future__ import annotations

import array
import itertools
import math
import shutil
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray, TrackFeatureArray, TrackWindowArray

from tao_anomaly.config import WindowConfig
from tao_anomaly.detection.detector import ForwardOutput
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.nodes import topics
from tao_anomaly.nodes.conversions import features_message, windows_message
from tao_anomaly.nodes.detector_node import DetectorNode
from tao_anomaly.nodes.image_conversions import image_message, to_time
from tao_anomaly.nodes.pipeline_node import PipelineNode
from tao_anomaly.nodes.scorer_node import ScorerNode
from tao_anomaly.nodes.stage_node import StageNode
from tao_anomaly.nodes.track_buffer_node import TrackBufferNode
from tao_anomaly.structures import NANOSECONDS, AnomalyState, FloatArray, TrackFeatures
from tao_anomaly.windows import TrackBuffer

LIGHT_ARGUMENTS = ("-p", "detector.input_size:=64", "-p", "detector.max_detections:=256")
START = 1000.0  # seconds, of the first image


class Sender:
    """Sends messages to a node in this process, each once the last is dealt with."""

    def __init__(self, listener, node: StageNode, kind: type, topic: str) -> None:
        self.listener, self.node = listener, node
        self.publisher = listener.node.create_publisher(kind, topic, 10)
        full = self.publisher.topic_name
        (subscription,) = (s for s in node.subscriptions if s.topic_name == full)
        listener.wait(self.publisher.get_subscription_count)
        listener.wait(subscription.get_publisher_count)

    def dealt_with(self) -> int:
        return self.node.answered + sum(self.node.skipped.values())

    def send(self, message: object) -> None:
        before = self.dealt_with()
        self.publisher.publish(message)
        self.listener.wait(lambda: self.dealt_with() > before)


def picture(seconds: float, *, size: tuple[int, int] = (48, 64)) -> Image:
    header = Header(stamp=to_time(round(seconds * NANOSECONDS)), frame_id="camera")
    return image_message(np.full((*size, 3), 99, np.uint8), header)


def jpeg(seconds: float, *, keep: float = 1.0) -> CompressedImage:
    data = cv2.imencode(".jpg", np.full((48, 64, 3), 99, np.uint8))[1].tobytes()
    message = CompressedImage(format="jpeg")
    message.header.stamp = to_time(round(seconds * NANOSECONDS))
    message.data = array.array("B", data[: round(len(data) * keep)])
    return message


def match(listener, node: StageNode, topic: str) -> None:
    """Wait until what the node sends on a topic reaches the listener."""
    (publisher,) = (p for p in node.publishers if p.topic_name == node.resolve_topic_name(topic))
    listener.wait(publisher.get_subscription_count)


@pytest.fixture
def pipeline(spin, light, light_model: Path, listener) -> StageNode:
    node = spin(PipelineNode, "-p", f"model:={light_model}", *LIGHT_ARGUMENTS)
    for kind, topic in (
        (TrackFeatureArray, topics.FEATURES),
        (TrackWindowArray, topics.WINDOWS),
        (AnomalyArray, topics.ANOMALIES),
    ):
        listener.listen(kind, topic)
        match(listener, node, topic)
    return node


def test_no_track_goes_on_over_a_break_in_the_stream(pipeline: StageNode, light, listener) -> None:
    camera = Sender(listener, pipeline, Image, topics.IMAGE)
    windows = listener.received[topics.WINDOWS]
    epochs: list[int] = []

    def steady(first: float, **options: object) -> None:
        """Four images belong together, and not to those before."""
        begun = len(windows)
        for n in range(4):
            camera.send(picture(first + n / 10, **options))
        listener.wait(lambda: len(windows) == begun + 4)
        assert [max(w.observations) for w in windows[begun:]] == [1, 2, 3, 4]
        (epoch,) = {w.epoch for w in windows[begun:]}
        assert {t.id.partition("-")[0] for w in windows[begun:] for t in w.tracks} == {str(epoch)}
        epochs.append(epoch)

    steady(START)
    steady(START + 60)  # the camera stopped and came back
    steady(START)  # the bag began again
    steady(START + 1, size=(96, 64))  # another resolution
    light.error = RuntimeError("out of memory")
    camera.send(picture(START + 1.4, size=(96, 64)))
    steady(START + 1.5, size=(96, 64))  # the detector failed once
    assert epochs == [START + n for n in range(5)]
    assert (pipeline.answered, dict(pipeline.skipped)) == (20, {"internal error": 1})


def test_images_that_say_nothing_new_or_nothing_at_all_leave_the_stream_as_it_is(
    pipeline: StageNode, listener
) -> None:
    camera = Sender(listener, pipeline, Image, topics.IMAGE)
    odd = Image(height=4, width=4, step=4, encoding="16SC7", data=array.array("B", bytes(16)))
    cut = picture(START + 0.2)
    cut.data = cut.data[:-1]
    bad = [picture(START), picture(0.0), odd, cut, Image(encoding="bgr8")]
    camera.send(picture(START))
    for message in bad:
        camera.send(message)
    camera.send(picture(START + 0.3))
    windows = listener.received[topics.WINDOWS]
    listener.wait(lambda: len(windows) == 2)
    assert [list(w.observations) for w in windows] == [[1] * 3, [2] * 3]
    assert pipeline.skipped == {
        "duplicate stamp": 1,
        "image without a stamp": 1,
        "unreadable image": 3,
    }


def test_a_truncated_jpeg_is_skipped(spin, light, listener) -> None:
    node = spin(DetectorNode, "-p", "image_transport:=compressed", *LIGHT_ARGUMENTS)
    camera = Sender(listener, node, CompressedImage, f"{topics.IMAGE}/compressed")
    for n, keep in enumerate([1.0, 0.5, 0.0, 1.0]):
        camera.send(jpeg(START + n / 10, keep=keep))
    assert (node.answered, dict(node.skipped)) == (2, {"unreadable image": 2})


def test_of_a_thousand_boxes_the_best_are_kept(pipeline: StageNode, light, listener) -> None:
    light.objects = 1000
    camera = Sender(listener, pipeline, Image, topics.IMAGE)
    camera.send(picture(START, size=(480, 640)))
    answers = listener.received[topics.ANOMALIES]
    listener.wait(lambda: answers)
    # The upper four rows of 32 lie in the border that makes the image square.
    best = np.linspace(0.9, 0.5, 1000)[4 * 32 :][:256]
    scores = sorted((o.detection_score for o in answers[0].objects), reverse=True)
    np.testing.assert_allclose(scores, best, rtol=1e-6)
    assert (
        pipeline.describe()["objects beyond max_detections"] == 24 * 32 - 256
    )  # 24 rows in the image
    assert not pipeline.skipped


def broken_features(features: TrackFeatures) -> list[TrackFeatureArray]:
    """Make messages that no detector of ours sends."""
    made = [features_message(features, Header()) for _ in range(5)]
    made[0].features = made[0].features[:-1]
    made[1].feature_dim = 2**32 - 1
    made[2].image_width = 0
    made[3].tracks[0].class_id = "9" * 64
    made[4].tracks[0].state = 77
    return made


def test_a_foreign_publisher_does_not_stop_the_track_buffer(spin, listener, make_features) -> None:
    node = spin(TrackBufferNode)
    listener.listen(TrackWindowArray, topics.WINDOWS)
    match(listener, node, topics.WINDOWS)
    detector = Sender(listener, node, TrackFeatureArray, topics.FEATURES)

    def image(n: int, value: float, dim: int = 3) -> TrackFeatures:
        return make_features(START + n / 10, {"0-1": [value] * dim, "0-2": [1.0] * dim}, dim=dim)

    values = [1.0, math.nan, math.inf, 1.0]
    for n, value in enumerate(values):
        detector.send(features_message(image(n, value), Header()))
    for message in [
        *broken_features(image(5, 1.0)),
        features_message(image(6, 1.0, dim=4), Header()),
    ]:
        detector.send(message)
    windows = listener.received[topics.WINDOWS]
    listener.wait(lambda: len(windows) == 4)
    assert [list(w.observations) for w in windows] == [[1, 1], [1, 2], [1, 3], [2, 4]]
    assert all(math.isfinite(value) for w in windows for value in w.features)
    assert dict(node.skipped) == {"bad message": 6}


def test_what_is_not_a_number_has_no_score_and_leaves_no_trace(
    spin, listener, light_model: Path, make_features
) -> None:
    node = spin(ScorerNode, "-p", f"model:={light_model}")
    artifact = load_artifact(light_model)
    listener.listen(AnomalyArray, topics.ANOMALIES)
    match(listener, node, topics.ANOMALIES)
    sender = Sender(listener, node, TrackWindowArray, topics.WINDOWS)
    buffer = TrackBuffer(WindowConfig(min_observations=2))
    for n in range(4):
        vector = np.zeros(artifact.layout.dim)  # it stands still: no step changes its score
        vector[artifact.layout.appearance_slice] = 1
        windows = buffer.update(
            make_features(
                START + n / 10,
                {"0-1": vector},
                dim=artifact.layout.dim,
                feature_id=artifact.feature_id,
            )
        )
        message = windows_message(windows, Header())
        if n == 2:
            message.features = array.array("f", [math.nan] * len(message.features))
        sender.send(message)
    answers = listener.received[topics.ANOMALIES]
    listener.wait(lambda: len(answers) == 4)
    warm, first, nothing, last = (answer.objects[0] for answer in answers)
    assert (warm.state, nothing.state) == (AnomalyState.WARMUP, AnomalyState.INVALID)
    assert math.isnan(nothing.score)
    assert last.score == pytest.approx(first.score)


def test_a_model_deleted_while_it_runs_scores_on_and_cannot_be_loaded_again(
    spin, light, light_model: Path, tmp_path: Path, listener
) -> None:
    folder = shutil.copytree(light_model, tmp_path / "model")
    node = spin(PipelineNode, "-p", f"model:={folder}", *LIGHT_ARGUMENTS)
    camera = Sender(listener, node, Image, topics.IMAGE)
    camera.send(picture(START))
    shutil.rmtree(folder)
    camera.send(picture(START + 0.1))
    assert node.answered == 2
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.lifecycle_state() == "unconfigured"
    assert node.fault.endswith("config.json: not found; expected the folder of a fitted model")


@pytest.mark.parametrize(
    ("name", "value"), [("scorer.smoothing", -1.0), ("windows.hop", 0), ("calibration_time", 0.0)]
)
def test_a_parameter_out_of_range_is_refused_while_the_node_runs(
    pipeline: StageNode, name: str, value: object
) -> None:
    before = pipeline.get_parameter(name).value
    (result,) = pipeline.set_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert result.reason
    assert pipeline.get_parameter(name).value == before


def test_a_slow_detector_takes_the_newest_image_and_counts_the_others(
    pipeline: StageNode, light, listener
) -> None:
    camera = Sender(listener, pipeline, Image, topics.IMAGE)
    camera.send(picture(START))
    light.seconds = 0.06
    stamps = [START + n / 50 for n in range(1, 61)]
    for stamp in stamps:  # three times as many as it can do
        camera.publisher.publish(picture(stamp))
        time.sleep(0.02)
    listener.wait(lambda: camera.dealt_with() == 1 + len(stamps))
    listener.wait(lambda: len(listener.received[topics.ANOMALIES]) == pipeline.answered)
    answered = [
        round(a.header.stamp.sec + a.header.stamp.nanosec / NANOSECONDS - START, 3)
        for a in listener.received[topics.ANOMALIES]
    ]
    assert answered == sorted(answered)
    assert answered[-1] == pytest.approx(60 / 50)  # the newest wins
    assert pipeline.answered < len(stamps)
    assert pipeline.skipped["replaced by a newer one before its turn"]
    waited = pipeline.traffic.waiting.percentiles(100)[0]
    slowest = pipeline.traffic.processing.percentiles(100)[0]
    # Never more than the one in work is ahead, whereas a queue would make the last wait 2.4 s.
    assert waited <= slowest + 1.0


@pytest.mark.parametrize("make", [DetectorNode, PipelineNode])
@pytest.mark.parametrize("max_wait", [0.2, 0.0])
def test_an_image_that_waited_too_long_makes_way_for_a_fresh_one(
    spin, light, light_model: Path, listener, monkeypatch, make, max_wait: float
) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    forward = light.forward

    def forward_when_told(blob: FloatArray) -> ForwardOutput:
        at_work.set()
        assert go_on.wait(60)
        return forward(blob)

    model = ["-p", f"model:={light_model}"] if make is PipelineNode else []
    node = spin(make, "-p", f"max_wait:={max_wait}", *model, *LIGHT_ARGUMENTS)
    listener.listen(TrackFeatureArray, topics.FEATURES)
    match(listener, node, topics.FEATURES)
    camera = Sender(listener, node, Image, topics.IMAGE)
    monkeypatch.setattr(light, "forward", forward_when_told)
    camera.publisher.publish(picture(START))
    assert at_work.wait(60)
    camera.publisher.publish(picture(START + 1))
    listener.wait(node.inputs[0].arrivals.rate)  # two have come
    camera.publisher.publish(picture(START + 2))
    listener.wait(lambda: node.skipped == {"replaced by a newer one before its turn": 1})
    time.sleep(2 * max_wait)
    go_on.set()
    listener.wait(lambda: camera.dealt_with() == 3)
    fresh = itertools.count(3)
    while node.answered < 2:  # on a busy machine even such an image may have to wait
        camera.send(picture(START + (latest := next(fresh))))
    answers = listener.received[topics.FEATURES]
    listener.wait(lambda: len(answers) == 2)
    assert answers[0].header.stamp == picture(START).header.stamp
    if max_wait:
        assert answers[1].header.stamp == picture(START + latest).header.stamp
        assert node.skipped["waited longer than max_wait"] == latest - 2
    else:
        assert answers[1].header.stamp == picture(START + 2).header.stamp
        assert sum(node.skipped.values()) == 1
