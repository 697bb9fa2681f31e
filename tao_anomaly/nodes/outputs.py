"""Publishers of what the stages make, used by the node of one stage and by that of all."""

from __future__ import annotations

from collections.abc import Mapping

from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent, TrackFeatureArray, TrackWindowArray
from vision_msgs.msg import Detection2DArray, LabelInfo

from tao_anomaly.nodes import conversions, qos, topics
from tao_anomaly.nodes.stage_node import THROTTLE, StageNode
from tao_anomaly.structures import (
    AnomalyEvent as Event,
)
from tao_anomaly.structures import (
    AnomalyScores,
    EventPhase,
    TrackFeatures,
    TrackWindows,
)


class TrackOutputs:
    """Publishes tracks, their features and, once, the names of the classes."""

    def __init__(self, node: StageNode) -> None:
        self._node = node
        self._excess = 0
        self._tracks = qos.advertise(node, Detection2DArray, topics.TRACKS, qos.STAGE)
        self._features = qos.advertise(node, TrackFeatureArray, topics.FEATURES, qos.STAGE)
        self._label_info = node.create_publisher(LabelInfo, topics.LABEL_INFO, qos.LABEL_INFO)

    def publish_labels(self, class_names: Mapping[int, str], threshold: float) -> None:
        """Publish the names of the detector's classes; late subscribers get them too."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        message = conversions.label_info_message(class_names, threshold, header)
        self._label_info.publish(message)

    def publish(self, features: TrackFeatures, header: Header, *, excess: int) -> None:
        """Publish what is listened to of one image.

        excess: objects that the detector has left out so far, beyond the most it may give.
        """
        if excess > self._excess:
            self._node.get_logger().warning(
                f"{excess - self._excess} objects left out, beyond detector.max_detections",
                throttle_duration_sec=THROTTLE,
            )
        self._excess = excess
        if self._features.get_subscription_count():
            self._features.publish(conversions.features_message(features, header))
        if self._tracks.get_subscription_count():
            self._tracks.publish(conversions.detections_message(features.tracks, header))

    def describe(self) -> dict[str, object]:
        """Return what diagnostics should say."""
        return {"objects beyond max_detections": self._excess}


class WindowOutput:
    """Publishes the windows of each image."""

    def __init__(self, node: StageNode) -> None:
        self._windows = qos.advertise(node, TrackWindowArray, topics.WINDOWS, qos.STAGE)

    def publish(self, windows: TrackWindows, header: Header) -> None:
        """Publish the windows of one image if somebody listens."""
        if self._windows.get_subscription_count():
            self._windows.publish(conversions.windows_message(windows, header))


class AnomalyOutputs:
    """Publishes the scores of each image and the events, and logs the events."""

    def __init__(self, node: StageNode) -> None:
        self._node = node
        self._scores = qos.advertise(node, AnomalyArray, topics.ANOMALIES, qos.STAGE)
        self._events = node.create_publisher(AnomalyEvent, topics.EVENTS, qos.EVENTS)

    def publish(
        self, scores: AnomalyScores, events: list[Event], header: Header, *, window_length: int
    ) -> None:
        """Publish the scores of one image and the events it brought."""
        self._scores.publish(
            conversions.scores_message(scores, header, window_length=window_length)
        )
        for event in events:
            self._events.publish(conversions.event_message(event, header))
            self._log(event)

    def _log(self, event: Event) -> None:
        what = "begins" if event.phase == EventPhase.START else f"ends, {event.duration:.1f} s"
        self._node.get_logger().info(
            f"anomaly {event.event_id} {what}: peak {event.peak_score:.2f},"
            f" threshold {event.threshold:.2f}"
        )
