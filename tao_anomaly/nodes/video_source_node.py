"""Node that publishes a video, a folder of images, a bag or a camera as image_raw."""

from __future__ import annotations

import sys
import threading
import time

import rclpy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray

from tao_anomaly.media.source import FrameSource, SourceError, open_source
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.image_conversions import image_message, to_nanoseconds, to_time
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import SourceSettings
from tao_anomaly.nodes.stage_node import THROTTLE, StageNode, run
from tao_anomaly.structures import NANOSECONDS, Frame

SETTLE = 2.0  # seconds that all nodes have to find each other after this one has seen them


class VideoSourceNode(StageNode):
    """Publishes every frame once, then ends its process.

    Stamps are the start time plus the footage's own time, whatever the pace, so that speeds
    measured on them are right. The first image waits until the topics of `wait_for` are connected.
    published, scored: images sent, and those whose scores have arrived.
    """

    def __init__(
        self, name: str = "video_source", schema: type[SourceSettings] = SourceSettings
    ) -> None:
        super().__init__(name)
        self._settings = Settings(self, schema)
        self.published = 0
        self.scored = 0
        self._expected: set[int] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._player: threading.Thread | None = None

    def configure(self) -> None:
        """Open the source; raises SourceError with the remedy."""
        settings = self._settings.value
        if not settings.source:
            raise SourceError(
                "parameter source: got nothing, expected a video, a folder of images or a rosbag"
            )
        self._source: FrameSource = open_source(
            settings.source, rate=settings.rate or None, topic=settings.topic or None
        )
        self._images = qos.advertise(self, Image, topics.IMAGE, qos.IMAGE_SOURCE)
        self._camera_info = qos.advertise(self, CameraInfo, topics.CAMERA_INFO, qos.IMAGE_SOURCE)

    def activate(self) -> None:
        """Begin to publish as soon as the topics of `wait_for` are connected."""
        self._stopping.clear()
        self.listen_for_answers()
        self._player = threading.Thread(target=self._play, name="player")
        self._player.start()

    def deactivate(self) -> None:
        """Stop publishing; activated again it begins with the first image."""
        self._stopping.set()
        if self._player is not None:
            self._player.join()

    def listen_for_answers(self) -> None:
        """Subscribe to the scores."""
        self.create_subscription(AnomalyArray, topics.ANOMALIES, self._answer, qos.STAGE)

    def _answer(self, message: AnomalyArray) -> None:
        self.count_answer(to_nanoseconds(message.header.stamp))

    def stamp(self, frame: Frame, elapsed_ns: int, start_ns: int) -> int:
        """Return the stamp of an image, `elapsed_ns` after the first one.

        start_ns: time of this node when it published that.
        """
        return start_ns + elapsed_ns

    def announce(self, stamp_ns: int) -> None:
        """Do what comes before an image is published."""

    def count_answer(self, stamp_ns: int) -> None:
        """Take note that the scores of an image have arrived."""
        with self._changed:
            if stamp_ns in self._expected:
                self._expected.remove(stamp_ns)
                self.scored += 1
                self._changed.notify_all()

    def _play(self) -> None:
        try:
            if self._wait_for_graph():
                self._publish_all()
                self.finish()
        except Exception as error:
            if rclpy.ok():  # else the process was told to end while this thread published
                self.exit_status = 1
                self.get_logger().error(str(error))
        finally:
            if not self._stopping.is_set():
                rclpy.try_shutdown()

    def _wait_for_graph(self) -> bool:
        """Return True when all topics are connected, False when stopped; raises SourceError."""
        names = [self.resolve_topic_name(name) for name in self._settings.value.wait_for.split()]
        deadline = time.monotonic() + self._settings.value.wait_timeout
        while missing := [name for name in names if not self._is_connected(name)]:
            if time.monotonic() > deadline:
                raise SourceError(
                    f"no publisher or no subscriber of {', '.join(missing)}: start the stages, or"
                    " choose other topics with the parameter wait_for"
                )
            self.get_logger().info(
                f"waiting for {', '.join(missing)}", throttle_duration_sec=THROTTLE
            )
            if self._stopping.wait(0.1):
                return False
        return not self._stopping.wait(SETTLE)

    def _is_connected(self, topic: str) -> bool:
        if topic == self._images.topic_name and not self._images.get_subscription_count():
            return False  # what is sent before this side knows of the other would be lost
        return bool(self.count_publishers(topic) and self.count_subscribers(topic))

    def _publish_all(self) -> None:
        started, start_ns = time.monotonic(), self.get_clock().now().nanoseconds
        first_ns: int | None = None
        for frame in self._source:
            first_ns = frame.stamp_ns if first_ns is None else first_ns
            elapsed_ns = frame.stamp_ns - first_ns
            if not self._pace(started, elapsed_ns / NANOSECONDS):
                return
            self._publish(frame, self.stamp(frame, elapsed_ns, start_ns))
            if self._settings.value.lock_step and not self._wait_for_answers():
                return

    def _pace(self, started: float, elapsed: float) -> bool:
        """Wait until the next image is due; False when stopped."""
        settings = self._settings.value
        if settings.lock_step:
            return not self._stopping.is_set()
        if settings.publish_rate:
            elapsed = self.published / settings.publish_rate
        return not self._stopping.wait(max(0.0, started + elapsed - time.monotonic()))

    def _publish(self, frame: Frame, stamp_ns: int) -> None:
        self.announce(stamp_ns)
        header = Header(stamp=to_time(stamp_ns), frame_id=self._settings.value.frame_id)
        height, width = frame.size
        with self._changed:
            self._expected.add(stamp_ns)
        self._images.publish(image_message(frame.image, header))
        # Without a calibration: K is zero, as sensor_msgs/CameraInfo asks for.
        self._camera_info.publish(CameraInfo(header=header, height=height, width=width))
        self.published += 1
        total = f" of {self._source.length}" if self._source.length else ""
        self.get_logger().info(
            f"published {self.published}{total} images", throttle_duration_sec=THROTTLE
        )

    def _wait_for_answers(self) -> bool:
        """Wait for the scores of the published images, not for ever; False when stopped."""
        deadline = time.monotonic() + self._settings.value.answer_timeout
        with self._changed:
            while self._expected and time.monotonic() < deadline:
                if self._stopping.is_set():
                    return False
                self._changed.wait(0.1)
            self._expected.clear()
        return True

    def finish(self) -> None:
        """Say how many images were answered, if anybody answers at all."""
        if self.count_publishers(self.resolve_topic_name(topics.ANOMALIES)):
            self._wait_for_answers()
            self.get_logger().info(f"done: {self.published} images published, {self.scored} scored")
        else:
            self.get_logger().info(f"done: {self.published} images published")


def main() -> int:
    """Run the node."""
    return run(VideoSourceNode)


if __name__ == "__main__":
    sys.exit(main())
