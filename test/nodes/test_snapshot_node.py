"""The black box as a process: what it keeps of an event, and that a full disk does not end it."""

from __future__ import annotations

import itertools
import os
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent

from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.image_conversions import image_message, to_time

SNAPSHOT = "tao_anomaly.nodes.snapshot_node"
START = 1_700_000_000 * 10**9
SIDE = 200  # an image has 120 kB
LARGE = 200_000  # bytes of a file that holds images


class Camera:
    """Publishes images, scores and events of a camera, ten a second of its own time."""

    def __init__(self, listener, namespace: str) -> None:
        node = listener.node
        self._listener = listener
        self._images = node.create_publisher(Image, f"{namespace}/{topics.IMAGE}", 50)
        self._scores = node.create_publisher(AnomalyArray, f"{namespace}/{topics.ANOMALIES}", 50)
        self._events = node.create_publisher(
            AnomalyEvent, f"{namespace}/{topics.EVENTS}", qos.EVENTS
        )
        self._numbers = itertools.count()
        publishers = (self._images, self._scores, self._events)
        listener.wait(lambda: all(p.get_subscription_count() for p in publishers))

    def run(self, count: int, *, event: str = "") -> int:
        """Send images with their scores, with the first an event's start; returns its stamp."""
        stamps = []
        for index in range(count):
            stamps.append(START + next(self._numbers) * 10**8)
            header = Header(stamp=to_time(stamps[-1]), frame_id="camera")
            self._images.publish(image_message(np.zeros((SIDE, SIDE, 3), np.uint8), header))
            self._scores.publish(AnomalyArray(header=header))
            if event and not index:
                message = AnomalyEvent(header=header, event_id=event, phase=AnomalyEvent.START)
                self._events.publish(message)
            time.sleep(0.02)  # not more than the queues hold
        return stamps[0]


def run_until(camera: Camera, condition: Callable[[], object], process) -> None:
    """Let the camera run on: what a reader has not seen yet is not lost to it for ever."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, process.output
        assert process.child.poll() is None, process.output
        camera.run(5)


def send_events_until(camera: Camera, track: str, condition: Callable[[], object], process) -> None:
    """Let events of a track happen, each after a second of images, until one had its effect."""
    deadline = time.monotonic() + 60
    for number in itertools.count(1):
        if condition():
            return
        assert time.monotonic() < deadline, process.output
        assert process.child.poll() is None, process.output
        camera.run(12)
        camera.run(5, event=f"{track}/{number}")


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.mcap")) if folder.exists() else []


def large(folder: Path, track: str) -> list[Path]:
    """Return what is kept of a track's events with images: their reader had been found by then."""
    found = [path for path in kept(folder) if f"_{track}-" in path.name]
    return [path for path in found if path.stat().st_size > LARGE]


def unkept(process) -> str:
    return "\n".join(line for line in process.output.splitlines() if "is not kept" in line)


@pytest.fixture
def recorder(listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A recorder's snapshot service, of a stand-in for its message package."""
    package = tmp_path / "python" / "rosbag2_interfaces"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "srv.py").write_text("from std_srvs.srv import Trigger as Snapshot\n")
    path = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    calls: list[str] = []

    def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        calls.append("snapshot")
        return response

    listener.node.create_service(Trigger, "/rosbag2_recorder/snapshot", serve)
    return calls


def test_an_event_is_kept_with_what_was_before_and_after_it(
    start, listener, recorder: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "snapshots"
    words = [f"snapshot.folder:={folder}", "snapshot.before:=1.0", "snapshot.after:=0.5"]
    parameters = [word for given in words for word in ("-p", given)]
    process = start(SNAPSHOT, "--ros-args", "-r", "__ns:=/left", *parameters)
    process.wait_for("ready")
    camera = Camera(listener, "/left")
    send_events_until(camera, "0-0", lambda: large(folder, "0-0"), process)
    camera.run(30)
    stamp = camera.run(1, event="0-1/1")
    run_until(camera, lambda: "event 0-1/1: " in process.output, process)
    (path,) = (path for path in kept(folder) if "_0-1-" in path.name)
    assert path.parent == folder / "left"
    second, fraction = divmod(stamp, 10**9)
    time_of_event = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%S")
    assert path.name == f"anomaly_{time_of_event}.{fraction:09d}_0-1-1.mcap"
    with AnyReader([path]) as reader:
        found = {
            topic: [s for c, s, _ in reader.messages() if c.topic == topic]
            for topic in reader.topics
        }
    assert found.keys() == {f"/left/{t}" for t in (topics.IMAGE, topics.ANOMALIES, topics.EVENTS)}
    assert found[f"/left/{topics.EVENTS}"] == [stamp]
    expected = [stamp + tenth * 10**8 for tenth in range(-10, 6)]
    for topic in (topics.IMAGE, topics.ANOMALIES):  # what a busy machine lost apart
        stamps = found[f"/left/{topic}"]
        assert set(stamps) <= set(expected)
        assert min(stamps) < stamp < max(stamps)
    # The recorder is told of an event as soon as the node knows of it.
    for number in range(2, 300):
        if recorder:
            break
        camera.run(1, event=f"0-1/{number}")
    assert recorder


def test_a_full_disk_is_an_error_in_the_log_and_the_next_event_is_kept(
    start, listener, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshots"
    words = [f"snapshot.folder:={folder}", "snapshot.before:=1.0", "snapshot.after:=0.2"]
    process = start(SNAPSHOT, "--ros-args", *[w for given in words for w in ("-p", given)])
    process.wait_for("ready")
    assert "rosbag2_interfaces is not installed" in process.output
    camera = Camera(listener, "")
    send_events_until(camera, "0-1", lambda: large(folder, "0-1"), process)
    limits = resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (LARGE, limits[1]))
    send_events_until(camera, "0-2", lambda: "event 0-2/" in unkept(process), process)
    assert "File too large" in unkept(process)
    run_until(camera, lambda: all("_0-1-" in path.name for path in folder.iterdir()), process)
    resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, limits)
    send_events_until(camera, "0-3", lambda: large(folder, "0-3"), process)
    with AnyReader(large(folder, "0-3")[:1]) as reader:
        assert reader.message_count > 5


def test_what_has_begun_is_written_when_the_node_ends(start, listener, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    process = start(SNAPSHOT, "--ros-args", "-p", f"snapshot.folder:={folder}")
    process.wait_for("ready")
    camera = Camera(listener, "")
    camera.run(5)
    camera.run(1, event="0-3/1")
    camera.run(1, event="0-4/2")
    process.wait_for("event 0-4/2 belongs to the snapshot that has begun")
    process.interrupt()
    assert len(kept(folder)) == 1, process.output
