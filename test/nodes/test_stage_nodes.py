"""The track buffer and the scorer as nodes, fed message by message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray, TrackFeatureArray, TrackWindowArray

from tao_anomaly.config import WindowConfig
from tao_anomaly.model.artifact import Artifact, load_artifact
from tao_anomaly.nodes import topics
from tao_anomaly.nodes.conversions import features_message, windows_message
from tao_anomaly.nodes.image_conversions import to_time
from tao_anomaly.nodes.scorer_node import ScorerNode
from tao_anomaly.nodes.stage_node import StageNode
from tao_anomaly.nodes.track_buffer_node import TrackBufferNode
from tao_anomaly.structures import AnomalyState, TrackFeatures
from tao_anomaly.windows import TrackBuffer

Features = Callable[..., TrackFeatures]


def header(structure: TrackFeatures) -> Header:
    return Header(stamp=to_time(structure.stamp_ns), frame_id="camera")


def sent_by(node: StageNode, topic: str) -> list[Publisher]:
    return [p for p in node.publishers if p.topic_name == node.resolve_topic_name(topic)]


class Exchange:
    """Sends messages to a node and takes its answers."""

    def __init__(
        self, node: StageNode, listener, ask: tuple[type, str], answer: tuple[type, str]
    ) -> None:
        self.listener = listener
        listener.listen(*answer)
        self.answers = listener.received[answer[1]]
        self.publisher = listener.node.create_publisher(*ask, 10)
        listener.wait(self.publisher.get_subscription_count)
        # What the node sends before its own side knows of the listener would be lost.
        listener.wait(lambda: any(p.get_subscription_count() for p in sent_by(node, answer[1])))

    def send(self, message: object) -> object:
        before = len(self.answers)
        self.publisher.publish(message)
        self.listener.wait(lambda: len(self.answers) > before)
        return self.answers[-1]


@pytest.fixture
def image(make_features: Features) -> Callable[..., TrackFeatures]:
    """Make image number n with one object of constant features."""

    def make(n: int, *, feature_id: str = "one", dim: int = 3, value: float = 1.0) -> TrackFeatures:
        return make_features(
            1 + n / 10, {"0-1": np.full(dim, value)}, dim=dim, feature_id=feature_id
        )

    return make


def test_the_hop_changes_while_the_track_buffer_runs(spin, listener, image) -> None:
    node = spin(TrackBufferNode, "-p", "windows.hop:=4")
    exchange = Exchange(
        node, listener, (TrackFeatureArray, topics.FEATURES), (TrackWindowArray, topics.WINDOWS)
    )

    def due(first: int) -> list[int]:
        found = []
        for n in range(first, first + 8):
            features = image(n)
            answer = exchange.send(features_message(features, header(features)))
            assert answer.header == header(features)
            assert [track.id for track in answer.tracks] == ["0-1"]
            found += [n] if len(answer.index) else []
        return found

    assert len(due(0)) == 3  # the first at two observations, then every fourth
    assert node.set_parameters([Parameter("windows.hop", value=1)])[0].successful
    assert due(8) == list(range(8, 16))


def test_another_detector_starts_the_windows_anew(spin, listener, image) -> None:
    node = spin(TrackBufferNode)
    exchange = Exchange(
        node, listener, (TrackFeatureArray, topics.FEATURES), (TrackWindowArray, topics.WINDOWS)
    )
    held = []
    for n, feature_id in enumerate(["one", "one", "other", "other"]):
        features = image(n, feature_id=feature_id)
        held += exchange.send(features_message(features, header(features))).observations
    assert held == [1, 2, 1, 2]


@pytest.fixture
def artifact(model: Path) -> Artifact:
    return load_artifact(model)


def test_the_threshold_changes_while_the_scorer_runs(
    spin, listener, image, artifact: Artifact
) -> None:
    node = spin(ScorerNode, "-p", f"model:={artifact.folder}")
    exchange = Exchange(
        node, listener, (TrackWindowArray, topics.WINDOWS), (AnomalyArray, topics.ANOMALIES)
    )
    buffer = TrackBuffer(WindowConfig(min_observations=2))

    def score(n: int) -> object:
        features = image(n, feature_id=artifact.feature_id, dim=artifact.layout.dim, value=30.0)
        windows = buffer.update(features)
        answer = exchange.send(windows_message(windows, header(features)))
        assert answer.header == header(features)
        return answer

    assert score(0).objects[0].state == AnomalyState.WARMUP
    strange = score(1)
    assert strange.objects[0].state == AnomalyState.ANOMALOUS
    assert (strange.threshold, strange.model_id) == (0.5, artifact.model_id)
    assert strange.frame_score == strange.objects[0].score
    assert node.set_parameters([Parameter("scorer.threshold", value=1000.0)])[0].successful
    told = score(2)
    assert (told.objects[0].state, told.threshold) == (AnomalyState.NORMAL, 1000.0)


def test_features_of_another_detector_are_refused_and_broken_messages_skipped(
    spin, listener, image, artifact: Artifact
) -> None:
    node = spin(ScorerNode, "-p", f"model:={artifact.folder}")
    exchange = Exchange(
        node, listener, (TrackWindowArray, topics.WINDOWS), (AnomalyArray, topics.ANOMALIES)
    )
    buffer = TrackBuffer(WindowConfig())
    good = image(0, feature_id=artifact.feature_id, dim=artifact.layout.dim)
    exchange.send(windows_message(buffer.update(good), header(good)))
    foreign = image(1, feature_id="foreign")
    message = windows_message(TrackBuffer(WindowConfig(hop=1)).update(foreign), header(foreign))
    refused = exchange.send(message)
    assert refused.header == header(foreign)
    assert [o.state for o in refused.objects] == [AnomalyState.INVALID]
    assert np.isnan([refused.frame_score, refused.objects[0].score]).all()
    assert f"got features foreign, but model {artifact.model_id} was fitted on" in node.fault
    assert f"features {artifact.feature_id}; use the detector weights" in node.fault
    message.observations.append(7)  # more observations than tracks
    exchange.publisher.publish(message)
    later = image(2, feature_id=artifact.feature_id, dim=artifact.layout.dim)
    answer = exchange.send(windows_message(buffer.update(later), header(later)))
    assert answer.header == header(later)
    assert np.isfinite([o.score for o in answer.objects]).all()
    assert (dict(node.skipped), node.fault) == ({"bad message": 1}, "")


def test_a_scorer_without_a_model_says_how_to_get_one(spin) -> None:
    with pytest.raises(ValueError, match=r"got no folder.*python -m tao_anomaly\.fit"):
        spin(ScorerNode)
