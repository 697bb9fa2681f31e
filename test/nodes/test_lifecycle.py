"""Nodes are configured, activated and released by the standard services, and say how they are."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

import psutil
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from tao_anomaly_msgs.msg import AnomalyArray, TrackFeatureArray

from tao_anomaly.nodes import topics
from tao_anomaly.nodes.image_conversions import image_message, to_time
from tao_anomaly.nodes.pipeline_node import PipelineNode
from tao_anomaly.nodes.scorer_node import ScorerNode
from tao_anomaly.nodes.stage_node import StageNode
from tao_anomaly.nodes.track_buffer_node import TrackBufferNode
from tao_anomaly.structures import NANOSECONDS

LIGHT_ARGUMENTS = ("-p", "detector.input_size:=64", "-p", "detector.max_detections:=256")
CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


@pytest.fixture
def call(listener) -> Callable[..., object]:
    """Call a service and return its response."""

    def send(kind: type, name: str, **request: object) -> object:
        client = listener.node.create_client(kind, name)
        listener.wait(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        listener.wait(future.done)
        return future.result()

    return send


@pytest.fixture
def change(call) -> Callable[[str, int], bool]:
    return lambda node, number: (
        call(ChangeState, f"{node}/change_state", transition=Transition(id=number)).success
    )


@pytest.fixture
def health(listener) -> Callable[..., DiagnosticStatus]:
    """Wait for a status of a node that says a text."""
    listener.listen(DiagnosticArray, "/diagnostics")
    received = listener.received["/diagnostics"]

    def status(text: str, node: str = "") -> DiagnosticStatus:
        begun = len(received)

        def found() -> list[DiagnosticStatus]:
            told = [s for array in received[begun:] for s in array.status]
            return [s for s in told if text in s.message and s.name.startswith(node)]

        listener.wait(found)
        return found()[-1]

    return status


def figures(status: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in status.values}


def picture(seconds: float) -> Image:
    header = Header(stamp=to_time(round(seconds * NANOSECONDS)), frame_id="camera")
    return image_message(np.full((48, 64, 3), 99, np.uint8), header)


def connect(listener, node: StageNode) -> Callable[[Image], None]:
    """Return what sends an image to the node and waits until it is dealt with."""
    publisher = listener.node.create_publisher(Image, topics.IMAGE, 10)
    (subscription,) = (s for s in node.subscriptions if s.topic_name == publisher.topic_name)
    listener.wait(publisher.get_subscription_count)
    listener.wait(subscription.get_publisher_count)

    def send(message: Image) -> None:
        before = node.answered + sum(node.skipped.values())
        publisher.publish(message)
        listener.wait(lambda: node.answered + sum(node.skipped.values()) > before)

    return send


def test_the_lifecycle_services_load_start_stop_and_release(
    spin, light, light_model: Path, listener, call, change
) -> None:
    words = ("-p", f"model:={light_model}", "-p", "autostart:=false", *LIGHT_ARGUMENTS)
    node = spin(PipelineNode, *words, start=False)
    assert not node.autostart
    assert call(GetState, "pipeline/get_state").current_state.label == "unconfigured"
    assert not call(Trigger, "pipeline/reset").success
    assert change("pipeline", CONFIGURE)
    assert not listener.node.count_subscribers(topics.IMAGE)
    assert change("pipeline", ACTIVATE)
    send = connect(listener, node)
    send(picture(1))
    assert change("pipeline", DEACTIVATE)
    assert change("pipeline", CLEANUP)
    assert call(GetState, "pipeline/get_state").current_state.label == "unconfigured"
    listener.wait(lambda: not listener.node.count_publishers(topics.ANOMALIES))
    assert node.answered == 1


def test_a_node_that_cannot_be_configured_says_why(spin, call, change, health) -> None:
    spin(ScorerNode, "-p", "model:=nowhere", start=False)
    assert not change("scorer", CONFIGURE)
    assert call(GetState, "scorer/get_state").current_state.label == "unconfigured"
    status = health("nowhere/config.json: not found; expected the folder of a fitted model")
    assert status.level == DiagnosticStatus.ERROR
    assert "not active: unconfigured" in status.message


def test_fifty_lives_leave_nothing_behind(spin, light, light_model: Path, listener) -> None:
    node = spin(PipelineNode, "-p", f"model:={light_model}", *LIGHT_ARGUMENTS)
    process = psutil.Process(os.getpid())

    def live() -> None:
        for step in (
            node.trigger_deactivate,
            node.trigger_cleanup,
            node.trigger_configure,
            node.trigger_activate,
        ):
            assert step() == TransitionCallbackReturn.SUCCESS

    def held() -> tuple[int, int, int, float]:
        gc.collect()
        endpoints = len(list(node.publishers)) + len(list(node.subscriptions))
        megabytes = process.memory_info().rss / 2**20
        return threading.active_count(), process.num_fds(), endpoints, megabytes

    for _ in range(10):
        live()
    threads, descriptors, endpoints, megabytes = held()
    for _ in range(50):
        live()
    after = held()
    assert after[:3] == (threads, descriptors, endpoints)
    assert after[3] < megabytes + 20  # a kept model or worker would be more
    connect(listener, node)(picture(1))
    assert node.answered == 1


def test_reset_and_enable(spin, light, light_model: Path, listener, call, health) -> None:
    node = spin(PipelineNode, "-p", f"model:={light_model}", *LIGHT_ARGUMENTS)
    send = connect(listener, node)
    send(picture(100))
    assert call(Trigger, "pipeline/reset").success
    send(picture(100.1))
    assert node.describe()["epoch"] == 101
    assert call(SetBool, "pipeline/enable", data=False).success
    assert health("disabled by ~/enable").level == DiagnosticStatus.WARN
    send(picture(100.2))
    assert (node.answered, dict(node.skipped)) == (2, {"disabled": 1})
    assert call(SetBool, "pipeline/enable", data=True).success
    send(picture(100.3))
    assert (node.answered, node.describe()["epoch"]) == (3, 102)


def test_diagnostics_tell_of_no_publisher_a_working_and_a_silent_camera(
    spin, light, light_model: Path, listener, health
) -> None:
    words = ("-p", f"model:={light_model}", "-p", "stale_after:=3.0", *LIGHT_ARGUMENTS)
    node = spin(PipelineNode, *words)
    status = health("no publisher on /image_raw")
    assert (status.level, status.name) == (DiagnosticStatus.WARN, "pipeline: anomaly detection")
    send = connect(listener, node)
    send(picture(100))
    send(picture(100.1))
    send(picture(0))
    status = health("1 image without a stamp")
    told = figures(status)
    assert (told["answered"], told["left out: image without a stamp"]) == ("2", "1")
    assert told["model_id"] == node.describe()["model_id"]
    for key in (
        "rate of /image_raw (Hz)",
        "latency from stamp to answer, p95 (ms)",
        "processing time, p50 (ms)",
        "time in the queue, p95 (ms)",
    ):
        assert float(told[key]) > 0
    status = health("no message on /image_raw for")
    assert status.level == DiagnosticStatus.ERROR


def test_a_publisher_of_other_quality_is_named(spin, listener, health, capfd) -> None:
    spin(TrackBufferNode)
    listener.node.create_publisher(
        TrackFeatureArray,
        topics.FEATURES,
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    )
    status = health("incompatible quality of service on /detector/features: /listener: ")
    assert status.level == DiagnosticStatus.ERROR
    assert "Best effort publisher and reliable subscription" in status.message
    logged = ""

    def told() -> bool:
        nonlocal logged
        logged += capfd.readouterr().err
        return "qos_overrides./detector/features.subscription.reliability" in logged

    listener.wait(told)
    assert "nothing is received from a publisher of incompatible RELIABILITY" in logged


def test_an_override_of_one_topic_leaves_the_others_alone(spin, light, light_model: Path) -> None:
    override = "qos_overrides./scorer/anomalies.publisher.depth:=77"
    words = ("-p", f"model:={light_model}", "-p", override, *LIGHT_ARGUMENTS)
    node = spin(PipelineNode, *words)
    depths = {p.topic_name: p.qos_profile.depth for p in node.publishers}
    assert (depths["/scorer/anomalies"], depths["/detector/features"]) == (77, 10)


def test_calibrate_refits_the_threshold_and_keeps_it(
    spin, light, light_model: Path, listener, call, tmp_path: Path
) -> None:
    file = tmp_path / "kept" / "threshold.json"
    words = ("-p", f"model:={light_model}", "-p", f"calibration_file:={file}", *LIGHT_ARGUMENTS)
    node = spin(PipelineNode, *words, "-p", "calibration_time:=1.0")
    listener.listen(AnomalyArray, topics.ANOMALIES)
    send = connect(listener, node)
    assert call(Trigger, "pipeline/calibrate").message == "collecting for 1 s"
    for n in range(15):
        send(picture(100 + n / 10))
    assert f"on 3 tracks, kept in {file}" in str(node.describe()["calibration"])
    document = json.loads(file.read_text())
    answers = listener.received[topics.ANOMALIES]
    listener.wait(lambda: len(answers) == 15)
    # Half of the three tracks reach it at their highest: it is the median of those maxima.
    seen = [[o.score for o in a.objects] for a in answers[:11]]
    expected = np.median(np.nanmax(np.array(seen), axis=0))
    assert document["threshold"]["value"] == pytest.approx(expected)
    assert answers[-1].threshold == pytest.approx(expected)
    assert list(file.parent.iterdir()) == [file]
    for step in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure):
        assert step() == TransitionCallbackReturn.SUCCESS
    assert f"of {file}" in str(node.describe()["calibration"])
    node.trigger_cleanup()
    file.write_text(json.dumps({**document, "model_id": "another"}))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "key 'model_id' is 'another', expected" in node.fault


def test_calibrate_refuses_what_it_cannot_do(spin, model: Path, listener, call) -> None:
    spin(ScorerNode, "-p", f"model:={model}")
    refused = call(Trigger, "scorer/calibrate")
    assert not refused.success
    assert "the model's threshold was given, not fitted by a rule with q" in refused.message
