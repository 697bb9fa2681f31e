"""Two cameras in one process with one detector, over real topics."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray

from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.nodes import topics
from tao_anomaly.nodes.conversions import scores_from
from tao_anomaly.nodes.image_conversions import image_message, to_nanoseconds, to_time
from tao_anomaly.pipeline import Pipeline
from tao_anomaly.structures import AnomalyScores, Frame

CLIPS = {"left": "Test004/06", "right": "Test001/10"}
FRAMES = 6
START = 10**18  # ns


@pytest.fixture
def clips(ped2: Path) -> dict[str, list[Frame]]:
    """Six images of each of two clips, with the same stamps."""
    found = {}
    for camera, start in CLIPS.items():
        paths = [ped2 / "Test" / f"{start}{number}.jpg" for number in range(FRAMES)]
        found[camera] = [
            Frame(np.asarray(cv2.imread(str(path))), START + index * 10**8, index)
            for index, path in enumerate(paths)
        ]
    return found


def alone(frames: list[Frame], model: Path, detector: Detector) -> list[AnomalyScores]:
    """Return what the pipeline makes of one camera."""
    artifact = load_artifact(model)
    pipeline = Pipeline.from_config(PipelineConfig(), artifact=artifact, detector=detector)
    results = [pipeline.process(frame) for frame in frames]
    return [result.scores for result in results if result is not None]


def numbers(scores: AnomalyScores) -> list[str]:
    """Return the tracks' numbers, without the epoch, which the warm-up began."""
    return [track_id.rpartition("-")[2] for track_id in scores.tracks.ids]


def warm_up(listener, publishers: dict, answers: dict[str, list]) -> None:
    """Send images of nothing until both cameras' answers arrive: nodes find each other one way."""
    blank = np.zeros((240, 360, 3), np.uint8)
    deadline = time.monotonic() + 60
    for number in range(900):
        assert time.monotonic() < deadline
        stamp = to_time(START - 10**10 + number * 10**6)  # a pause: an epoch of its own
        for camera, publisher in publishers.items():
            publisher.publish(image_message(blank, Header(stamp=stamp, frame_id=camera)))
        time.sleep(0.2)
        if all(answers.values()):
            break
    last = [to_nanoseconds(stamp)] * 2
    listener.wait(lambda: [to_nanoseconds(a[-1].header.stamp) for a in answers.values()] == last)
    for messages in answers.values():
        messages.clear()


def test_cameras_in_one_process_are_answered_as_if_alone(
    start,
    listener,
    clips: dict[str, list[Frame]],
    model: Path,
    weights: Path,
    detector: Detector,
    tmp_path: Path,
) -> None:
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text("together: true\ncameras: {left: , right: {image_topic: other/image}}")
    names = {"left": "/left/image_raw", "right": "/right/other/image"}
    parameters = {
        "detector": {"weights": str(weights), "threads": 2},
        # No image may be lost on its way here.
        "qos_overrides": {
            name: {"subscription": {"reliability": "reliable"}} for name in names.values()
        },
    }
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))
    words = ["--cameras", str(cameras), "--model", str(model), "--params-file", str(settings)]
    process = start("tao_anomaly.nodes.graph", *words)
    publishers = {
        camera: listener.node.create_publisher(Image, name, 10) for camera, name in names.items()
    }
    for camera in CLIPS:
        listener.listen(AnomalyArray, f"/{camera}/{topics.ANOMALIES}")
    listener.wait(lambda: all(p.get_subscription_count() for p in publishers.values()))
    answers = {name: listener.received[f"/{name}/{topics.ANOMALIES}"] for name in CLIPS}
    warm_up(listener, publishers, answers)
    for index in range(FRAMES):
        for camera, frames in clips.items():
            header = Header(stamp=to_time(frames[index].stamp_ns), frame_id=camera)
            publishers[camera].publish(image_message(frames[index].image, header))
        # Sensor data is sent once: each image is awaited before the next.
        listener.wait(lambda done=index + 1: all(len(got) == done for got in answers.values()))
    assert process.child.poll() is None, process.output
    for camera, frames in clips.items():
        expected = alone(frames, model, detector)
        for message, frame, wanted in zip(answers[camera], frames, expected, strict=True):
            assert message.header.frame_id == camera
            assert to_nanoseconds(message.header.stamp) == frame.stamp_ns
            got = scores_from(message)
            assert numbers(got) == numbers(wanted)
            np.testing.assert_allclose(got.tracks.boxes, wanted.tracks.boxes, atol=0.1)
            np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-2)
        assert len(expected[-1].tracks) >= 4
