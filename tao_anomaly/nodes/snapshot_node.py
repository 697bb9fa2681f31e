"""Node that keeps what happened around each event: images, scores and events as an mcap file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.serialization import deserialize_message
from rclpy.timer import Timer
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent

from tao_anomaly.media.bag_writer import BagTopic
from tao_anomaly.media.black_box import BlackBox, EventClip, SnapshotFolder
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.image_conversions import stamp_of
from tao_anomaly.nodes.image_input import image_topic
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ImageSettings, SnapshotSettings
from tao_anomaly.nodes.stage_node import StageNode, run

_MEGABYTE = 1_000_000
_PATIENCE = 5.0  # seconds beyond `after` that a clip waits for what follows
_BACKLOG = 10  # images received while one is kept
_AT_WORK = 2  # clips written and waiting to be


class SnapshotNode(StageNode):
    """Keeps the latest messages in memory and writes those around an event to a file.

    A recorder of rosbag2 in snapshot mode is told as well, where there is one.
    """

    def __init__(self) -> None:
        super().__init__("snapshot")
        self._image = Settings(self, ImageSettings)
        self._settings = Settings(self, SnapshotSettings, prefix="snapshot")
        self._box: BlackBox | None = None
        self._recorder: Client | None = None
        self._timer: Timer | None = None
        self._waited = 0.0

    def configure(self) -> None:
        """Make the folder; raises OSError where that cannot be."""
        settings = self._settings.value
        self._folder = SnapshotFolder(
            Path(settings.folder).expanduser() / self.get_namespace().strip("/"),
            max_files=settings.max_files,
            max_bytes=settings.max_disk * _MEGABYTE,
        )
        self._recorder = self._recorder_client(settings.rosbag2_service)
        self.get_logger().info(f"events are kept in {self._folder.folder}")

    def activate(self) -> None:
        """Begin to receive."""
        settings = self._settings.value
        self._box = BlackBox(
            before=settings.before,
            after=settings.after,
            max_bytes=settings.max_memory * _MEGABYTE,
        )
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._at_work: list[Future[None]] = []
        kind, name = image_topic(self, self._image.value.image_transport)
        self._topics = [
            self._keep(kind, name, qos.image(_BACKLOG), reliable=False),
            self._keep(AnomalyArray, topics.ANOMALIES, qos.STAGE),
            self._keep(AnomalyEvent, topics.EVENTS, qos.NEW_EVENTS, transient=True),
        ]
        # By the steady clock: with a bag's time no tick comes after its end.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self._tick, clock=steady)

    def deactivate(self) -> None:
        """Write what has begun and receive no more."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._box is not None:
            self._hand_over(self._box.finish())
            self._writer.shutdown()
            self._box = None

    def cleanup(self) -> None:
        """Forget the recorder."""
        if self._recorder is not None:
            self.destroy_client(self._recorder)
            self._recorder = None

    def _keep(
        self, kind: Any, topic: str, profile: Any, *, reliable: bool = True, transient: bool = False
    ) -> BagTopic:
        name = self.resolve_topic_name(topic)
        self.create_subscription(
            kind,
            name,
            self.guarded(self._keeping(name, kind is AnomalyEvent)),
            profile,
            raw=True,
        )
        package = kind.__module__.partition(".")[0]
        return BagTopic(
            name,
            f"{package}/msg/{kind.__name__}",
            depth=profile.depth,
            reliable=reliable,
            transient=transient,
        )

    def _keeping(self, topic: str, is_event: bool) -> Callable[[bytes], None]:
        def keep(message: bytes) -> None:
            assert self._box is not None
            stamp_ns = stamp_of(message)
            self._hand_over(self._box.add(topic, stamp_ns, message))
            if is_event:
                self._take_event(deserialize_message(message, AnomalyEvent), stamp_ns)

        return keep

    def _take_event(self, event: AnomalyEvent, stamp_ns: int) -> None:
        assert self._box is not None
        if event.phase != AnomalyEvent.START:
            return
        if self._box.trigger(event.event_id, stamp_ns):
            self._waited = 0.0
        else:
            self.get_logger().info(f"event {event.event_id} belongs to the snapshot that has begun")
        if self._recorder is not None and self._recorder.service_is_ready():
            kind: Any = self._recorder.srv_type
            self._recorder.call_async(kind.Request())

    def _tick(self) -> None:
        """End a clip that nothing follows."""
        assert self._box is not None
        self._waited += 1.0
        if self._box.collecting and self._waited > self._settings.value.after + _PATIENCE:
            self._hand_over(self._box.finish())

    def _hand_over(self, clip: EventClip | None) -> None:
        """Let a clip be written beside the reception."""
        if clip is None:
            return
        self._at_work = [work for work in self._at_work if not work.done()]
        if len(self._at_work) >= _AT_WORK:
            self.skip("snapshot, for the disk is too slow", clip.event_id)
            return
        self._at_work.append(self._writer.submit(self._save, clip))

    def _save(self, clip: EventClip) -> None:
        try:
            path = self._folder.save(clip, self._topics)
        except Exception as error:  # a full disk, a folder that has gone: the node lives on
            self.get_logger().error(f"event {clip.event_id} is not kept: {error}")
            return
        lacking = self._box.dropped if self._box is not None else 0
        short = f"; {lacking} messages had no room in memory so far" if lacking else ""
        self.get_logger().info(
            f"event {clip.event_id}: {len(clip.messages)} messages kept in {path}{short}"
        )

    def _recorder_client(self, service: str) -> Client | None:
        """Return a client of rosbag2's snapshot service, None where its package is absent."""
        if not service:
            return None
        try:
            kind = importlib.import_module("rosbag2_interfaces.srv").Snapshot
        except ImportError:
            self.get_logger().info("rosbag2_interfaces is not installed: no recorder is told")
            return None
        return self.create_client(kind, service)


def main() -> int:
    """Run the node."""
    return run(SnapshotNode)


if __name__ == "__main__":
    sys.exit(main())
