"""Node that shows the scores: drawn onto their image, as annotations and as markers.

Each is made only while somebody watches, the image also while it is recorded.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path

from foxglove_msgs.msg import ImageAnnotations
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import MarkerArray

from tao_anomaly.media.video_writer import VideoWriter
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.annotations import ground_camera, ground_markers, image_annotations
from tao_anomaly.nodes.conversions import class_names_from, event_from, scores_from
from tao_anomaly.nodes.image_conversions import frame_from_image, image_message, to_nanoseconds
from tao_anomaly.nodes.image_input import ImageMessage, subscribe_images
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ImageSettings, OverlaySettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.structures import NANOSECONDS, AnomalyScores, ImageArray
from tao_anomaly.visualization.ground_plane import GroundCamera
from tao_anomaly.visualization.history import SceneHistory
from tao_anomaly.visualization.overlay import draw_overlay

_BACKLOG = 10  # images received while one is drawn


class OverlayNode(StageNode):
    """Pairs images and scores by stamp; each pair becomes an annotated image."""

    def __init__(self) -> None:
        super().__init__("overlay")
        self._image = Settings(self, ImageSettings)
        self._settings = Settings(self, OverlaySettings, prefix="overlay")
        self._images: OrderedDict[int, ImageMessage] = OrderedDict()
        self._class_names: dict[int, str] = {}
        self._history = SceneHistory()
        self._camera: GroundCamera | None = None
        self._first: tuple[int, ImageArray] | None = None
        self._writer: VideoWriter | None = None

    def activate(self) -> None:
        """Begin to receive images and scores."""
        options = qos.overridable()
        self._publisher = self.create_publisher(
            Image, topics.OVERLAY, qos.OVERLAY, qos_overriding_options=options
        )
        self._annotations = self.create_publisher(
            ImageAnnotations, topics.ANNOTATIONS, qos.OVERLAY, qos_overriding_options=options
        )
        self._markers = self.create_publisher(
            MarkerArray, topics.MARKERS, qos.OVERLAY, qos_overriding_options=options
        )
        transport = self._image.value.image_transport
        # Made before the subscription to scores: of what waits, images are then taken first.
        subscribe_images(self, transport, self.guarded(self._keep), depth=_BACKLOG)
        self.create_subscription(
            LabelInfo, topics.LABEL_INFO, self.guarded(self._take_names), qos.LABEL_INFO
        )
        self.create_subscription(
            AnomalyEvent, topics.EVENTS, self.guarded(self._take_event), qos.EVENTS
        )
        if self._settings.value.camera_height > 0:
            self.create_subscription(
                CameraInfo, topics.CAMERA_INFO, self.guarded(self._take_camera), qos.image()
            )
        self.create_subscription(
            AnomalyArray,
            topics.ANOMALIES,
            self.guarded(self._draw),
            qos.STAGE,
            qos_overriding_options=options,
        )

    def deactivate(self) -> None:
        """Finish the recording."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
        self._writer = self._first = None

    def _take_names(self, message: LabelInfo) -> None:
        self._class_names = class_names_from(message)

    def _take_event(self, message: AnomalyEvent) -> None:
        self._history.take(event_from(message))

    def _take_camera(self, message: CameraInfo) -> None:
        settings = self._settings.value
        self._camera = ground_camera(
            message, height=settings.camera_height, pitch=settings.camera_pitch
        )

    def _keep(self, message: ImageMessage) -> None:
        self._images[to_nanoseconds(message.header.stamp)] = message
        while len(self._images) > self._settings.value.cache:
            self._images.popitem(last=False)

    def _draw(self, message: AnomalyArray) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        image = self._images.pop(stamp, None)
        scores = scores_from(message)
        self._history.update(scores)
        self._publish_vectors(scores, message.header)
        if not self._settings.value.record and not self._publisher.get_subscription_count():
            return
        if image is None:
            self.skip("scores whose image was not seen")
            return
        frame = frame_from_image(image, 0)
        drawn = draw_overlay(frame.image, scores, self._class_names, self._history)
        self._publisher.publish(image_message(drawn, message.header))
        if self._settings.value.record:
            self._record(stamp, drawn)

    def _publish_vectors(self, scores: AnomalyScores, header: Header) -> None:
        if self._annotations.get_subscription_count():
            self._annotations.publish(
                image_annotations(scores, self._class_names, self._history, header)
            )
        if self._camera is not None and self._markers.get_subscription_count():
            self._markers.publish(ground_markers(scores, self._class_names, self._camera, header))

    def _record(self, stamp_ns: int, image: ImageArray) -> None:
        """Write an image; the time between the first two gives the rate of the video."""
        if self._writer is None:
            if self._first is None or stamp_ns <= self._first[0]:
                self._first = stamp_ns, image
                return
            rate = NANOSECONDS / (stamp_ns - self._first[0])
            path = Path(self._settings.value.record).expanduser()
            self._writer = VideoWriter(path, rate=rate).__enter__()
            self._writer.write(self._first[1])
        self._writer.write(image)


def main() -> int:
    """Run the node."""
    return run(OverlayNode)


if __name__ == "__main__":
    sys.exit(main())
