"""Node that replays a bag through the stages: its images and time out, their scores into a bag.

What it records has the bag's own stamps, so that it can be evaluated against the bag's frames.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable
from pathlib import Path

import rclpy
from rosgraph_msgs.msg import Clock
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent

from tao_anomaly.media.anomaly_bag import message_types
from tao_anomaly.media.bag_writer import BagTopic, BagWriter
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.image_conversions import stamp_of, to_time
from tao_anomaly.nodes.settings import ReplaySettings
from tao_anomaly.nodes.stage_node import run
from tao_anomaly.nodes.video_source_node import VideoSourceNode
from tao_anomaly.structures import Frame

_CLOCK = "/clock"  # there is one time for all namespaces
_SETTLE = 1.0  # seconds in which the last events may follow the last scores
_REORDERED = 64  # messages held back so that the bag is in the order of their stamps


class ReplayNode(VideoSourceNode):
    """Publishes every frame once with its recorded stamp, /clock before it; records the answers."""

    def __init__(self) -> None:
        super().__init__("replay", ReplaySettings)
        self._recorder: AnswerRecorder | None = None

    def configure(self) -> None:
        """Open the bag; raises SourceError with the remedy."""
        super().configure()
        self._time = self.create_publisher(Clock, _CLOCK, qos.CLOCK)

    def listen_for_answers(self) -> None:
        """Subscribe to scores and events, serialised, as they go into the bag."""
        settings = self._settings.value
        assert isinstance(settings, ReplaySettings)
        names = {
            kind: self.resolve_topic_name(name)
            for kind, name in ((AnomalyEvent, topics.EVENTS), (AnomalyArray, topics.ANOMALIES))
        }
        if settings.record:
            self._recorder = AnswerRecorder(
                Path(settings.record).expanduser(),
                scores=names[AnomalyArray],
                events=names[AnomalyEvent],
                storage=settings.record_storage,
            )
        # Events first: of what waits they are then taken first, and precede the next image.
        for kind, profile in ((AnomalyEvent, qos.NEW_EVENTS), (AnomalyArray, qos.STAGE)):
            handle = self._taking(names[kind], counted=kind is AnomalyArray)
            self.create_subscription(kind, names[kind], handle, profile, raw=True)

    def _taking(self, topic: str, *, counted: bool) -> Callable[[bytes], None]:
        def take(message: bytes) -> None:
            stamp_ns = stamp_of(message)
            try:
                if self._recorder is not None:
                    self._recorder.add(topic, stamp_ns, message)
            except OSError as error:
                self._fail(error)
            if counted:
                self.count_answer(stamp_ns)

        return self.guarded(take)

    def stamp(self, frame: Frame, elapsed_ns: int, start_ns: int) -> int:
        """Return the stamp the frame was recorded with."""
        return frame.stamp_ns

    def announce(self, stamp_ns: int) -> None:
        """Set the time to that of the image that follows."""
        self._time.publish(Clock(clock=to_time(stamp_ns)))

    def finish(self) -> None:
        """Wait for the last answers."""
        super().finish()
        if self._recorder is not None:
            self._stopping.wait(_SETTLE)

    def deactivate(self) -> None:
        """Stop publishing and finish the recording, of whatever there is."""
        super().deactivate()
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        if not recorder.written:
            recorder.discard()
            self.get_logger().warning("nothing was answered: no bag is recorded")
            return
        try:
            recorder.close()
        except OSError as error:
            self._fail(error)
        else:
            self.get_logger().info(f"recorded {recorder.written} messages to {recorder.target}")

    def _fail(self, error: OSError) -> None:
        recorder, self._recorder = self._recorder, None
        self.exit_status = 1
        self.get_logger().error(f"not recorded: {error}")
        if recorder is not None:
            recorder.discard()
        self._stopping.set()
        rclpy.try_shutdown()  # what is played from now on would be for nothing


class AnswerRecorder:
    """A bag of serialised scores and events in the order of their stamps.

    written: messages so far. Raises SourceError where the bag exists.
    """

    def __init__(self, target: Path, *, scores: str, events: str, storage: str) -> None:
        self.target = target
        self.written = 0
        self._types = message_types()
        self._kinds = {
            scores: "tao_anomaly_msgs/msg/AnomalyArray",
            events: "tao_anomaly_msgs/msg/AnomalyEvent",
        }
        self._waiting: list[tuple[int, str, int, bytes]] = []
        target.parent.mkdir(parents=True, exist_ok=True)
        of_bag = [
            BagTopic(scores, self._kinds[scores], depth=qos.STAGE.depth),
            BagTopic(events, self._kinds[events], depth=qos.EVENTS.depth, transient=True),
        ]
        self._writer = BagWriter(target, of_bag, storage=storage).__enter__()

    def add(self, topic: str, stamp_ns: int, message: bytes) -> None:
        """Take a message; raises OSError where the disk is full."""
        self.written += 1
        heapq.heappush(self._waiting, (stamp_ns, topic, self.written, self._pure(topic, message)))
        if len(self._waiting) > _REORDERED:
            self._write()

    def close(self) -> None:
        """Write what waits and give the bag its name; raises OSError, nothing is left then."""
        try:
            while self._waiting:
                self._write()
        except OSError:
            self.discard()
            raise
        self._writer.__exit__(None, None, None)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._writer.__exit__(OSError, None, None)

    def _pure(self, topic: str, message: bytes) -> bytes:
        """Return the message without what the sender's memory happened to hold between fields."""
        kind = self._kinds[topic]
        return bytes(self._types.serialize_cdr(self._types.deserialize_cdr(message, kind), kind))

    def _write(self) -> None:
        stamp_ns, topic, _, message = heapq.heappop(self._waiting)
        self._writer.write(topic, stamp_ns, message)


def main() -> int:
    """Run the node."""
    return run(ReplayNode)


if __name__ == "__main__":
    sys.exit(main())
