"""A bag of real images through the stages and into a new bag, in processes of their own."""

from __future__ import annotations

import json
import resource
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

import struct

from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent

from tao_anomaly.evaluation.command import main as evaluate
from tao_anomaly.media.anomaly_bag import message_types
from tao_anomaly.media.bag_writer import BagTopic, BagWriter
from tao_anomaly.nodes import replay, topics
from tao_anomaly.nodes.image_conversions import (
    image_message,
    stamp_of,
    to_nanoseconds,
    to_time,
)
from tao_anomaly.nodes.replay_node import AnswerRecorder

REPLAY = "tao_anomaly.nodes.replay"
PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.yaml"
FRAMES, FIRST = 14, 100  # of Test001: a bicycle is anomalous in all of them
START = 1_700_000_000 * 10**9
THREADS = 1
DETECTOR = {"backend": "torch", "threads": THREADS}


@pytest.fixture(scope="module")
def clip(ped2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bag of real images, their masks and the data set of the two."""
    root = tmp_path_factory.mktemp("clip")
    (root / "masks").mkdir()
    with BagWriter(root / "bag", [BagTopic("/left/image_raw", "sensor_msgs/msg/Image")]) as writer:
        for index in range(FRAMES):
            name = f"{FIRST + index:03d}"
            shutil.copy(ped2 / "Test" / "Test001_gt" / f"{name}.png", root / "masks")
            image = np.asarray(cv2.imread(str(ped2 / "Test" / "Test001" / f"{name}.jpg")))
            stamp = START + index * 10**8
            message = image_message(image, Header(stamp=to_time(stamp), frame_id="left"))
            writer.write("/left/image_raw", stamp + 10**6, bytes(serialize_message(message)))
    (root / "clip.yaml").write_text("name: clip\ntest: [{source: bag, masks: masks}]\n")
    return root


@pytest.fixture
def run_replay(start, weights: Path, model: Path, clip: Path, tmp_path: Path):
    """Replay the clip's bag with the real detector and the test's model."""
    settings = tmp_path / "settings.yaml"
    parameters = {f"detector.{name}": value for name, value in DETECTOR.items()}
    settings.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))

    def run(*arguments: str) -> object:
        given = ("--model", str(model), "--detector-weights", str(weights))
        bag = str(clip / "bag")
        return start(REPLAY, bag, *given, "--params-file", str(settings), *arguments)

    return run


def test_two_replays_record_the_same_bytes_and_evaluate_like_the_bag(
    run_replay,
    listener,
    clip: Path,
    model: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener.listen(Clock, "/clock")
    listener.listen(Image, topics.IMAGE)
    outputs = [tmp_path / run / "answers" for run in ("first", "second")]
    for output in outputs:
        process = run_replay("--output", str(output))
        assert process.wait(240) == 0, process.output
        assert f"{FRAMES} images published, {FRAMES} scored" in process.output
    files = [{p.name: p.read_bytes() for p in output.iterdir()} for output in outputs]
    assert files[0].keys() == {"answers.mcap", "metadata.yaml"}
    assert files[0] == files[1]

    images, times = listener.received[topics.IMAGE], listener.received["/clock"]
    stamps = [START + index * 10**8 for index in range(FRAMES)]
    assert [to_nanoseconds(image.header.stamp) for image in images] == 2 * stamps
    assert [to_nanoseconds(time.clock) for time in times] == 2 * stamps

    with AnyReader([outputs[0]], default_typestore=message_types()) as reader:
        found = [
            (c.topic, stamp, reader.deserialize(raw, c.msgtype))
            for c, stamp, raw in reader.messages()
        ]
    scores = [entry for entry in found if entry[0] == f"/{topics.ANOMALIES}"]
    assert [stamp for _, stamp, _ in scores] == stamps
    events = [message for topic, _, message in found if topic == f"/{topics.EVENTS}"]
    assert events
    assert len(scores) + len(events) == len(found)

    recorded = measure(monkeypatch, clip, tmp_path, f"anomalies={outputs[0]}")
    offline = measure(
        monkeypatch,
        clip,
        tmp_path,
        f"model={model}",
        "baselines=false",
        f"store={tmp_path / 'store'}",
        f"pipeline.detector.weights={weights}",
        *(f"pipeline.detector.{name}={value}" for name, value in DETECTOR.items()),
    )
    assert recorded["rbdc"] > 0
    assert recorded == pytest.approx(offline, abs=1e-6, nan_ok=True)


def measure(
    monkeypatch: pytest.MonkeyPatch, clip: Path, folder: Path, *words: str
) -> dict[str, float]:
    """Return the numbers of the evaluation's first row."""
    output = folder / "evaluated"
    given = ["dataset=custom", f"root={clip / 'clip.yaml'}", f"output={output}", "name=it"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *given, *words])
    assert evaluate(PUBLISHED) == 0
    document = json.loads((output / "it.json").read_text("utf-8"))
    return numbers(document["rows"][0]["metrics"])


def numbers(values: dict[str, object], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested metrics by dotted names."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            found[f"{prefix}{name}"] = value
    return found


def test_an_existing_output_is_refused_before_anything_is_played(
    run_replay, tmp_path: Path
) -> None:
    (tmp_path / "answers").mkdir()
    process = run_replay("--output", str(tmp_path / "answers"), "--composed")
    assert process.wait(120) == 1
    assert "answers: exists already; name a new folder for the bag" in process.output
    assert "published" not in process.output


def test_a_full_disk_leaves_no_bag_and_is_told(tmp_path: Path) -> None:
    kept = AnswerRecorder(tmp_path / "bag", scores="/scores", events="/events", storage="mcap")
    message = serialize_message(AnomalyArray(header=Header(stamp=to_time(1))))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        for stamp in range(1500):
            kept.add("/scores", stamp, bytes(message))
        with pytest.raises(OSError, match="too large"):
            kept.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_stamps_are_read_from_serialised_messages() -> None:
    header = Header(stamp=to_time(-5 * 10**9 + 7), frame_id="x" * 100)
    for message in (AnomalyArray(header=header), AnomalyEvent(header=header)):
        assert stamp_of(bytes(serialize_message(message))) == -5 * 10**9 + 7
    assert stamp_of(b"\x00\x00\x00\x00" + struct.pack(">iI", 3, 4)) == 3 * 10**9 + 4
    with pytest.raises(ValueError, match="got a message of 4 bytes"):
        stamp_of(bytes(4))


def test_the_pace_is_lock_step_unless_another_is_given() -> None:
    def parameters(*arguments: str) -> dict[str, object]:
        return replay.plan(replay.parse(["bag", *arguments]))[-1].parameters

    assert parameters()["lock_step"] is True
    assert parameters("--real-time")["lock_step"] is False
    assert parameters("--publish-rate", "5")["publish_rate"] == 5.0
    assert topics.EVENTS not in str(parameters()["wait_for"])
    assert topics.EVENTS in str(parameters("--output", "x")["wait_for"])
