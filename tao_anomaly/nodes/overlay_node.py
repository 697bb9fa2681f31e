"""Node that draws the scores onto their image, while somebody watches or records."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path

from sensor_msgs.msg import Image
from tao_anomaly_msgs.msg import AnomalyArray
from vision_msgs.msg import LabelInfo

from tao_anomaly.media.video_writer import VideoWriter
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.conversions import class_names_from, scores_from
from tao_anomaly.nodes.image_conversions import frame_from_image, image_message, to_nanoseconds
from tao_anomaly.nodes.image_input import ImageMessage, subscribe_images
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ImageSettings, OverlaySettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.structures import NANOSECONDS, ImageArray
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
        self._first: tuple[int, ImageArray] | None = None
        self._writer: VideoWriter | None = None

    def activate(self) -> None:
        """Begin to receive images and scores."""
        options = qos.overridable()
        self._publisher = self.create_publisher(
            Image, topics.OVERLAY, qos.OVERLAY, qos_overriding_options=options
        )
        transport = self._image.value.image_transport
        # Made before the subscription to scores: of what waits, images are then taken first.
        subscribe_images(self, transport, self.guarded(self._keep), depth=_BACKLOG)
        self.create_subscription(
            LabelInfo, topics.LABEL_INFO, self.guarded(self._take_names), qos.LABEL_INFO
        )
        self.create_subscription(
            AnomalyArray,
            topics.ANOMALIES,
            self.guarded(self._draw),
            qos.STAGE,
            qos_overriding_options=options,
        )

    def close(self) -> None:
        """Finish the recording."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)

    def _take_names(self, message: LabelInfo) -> None:
        self._class_names = class_names_from(message)

    def _keep(self, message: ImageMessage) -> None:
        self._images[to_nanoseconds(message.header.stamp)] = message
        while len(self._images) > self._settings.value.cache:
            self._images.popitem(last=False)

    def _draw(self, message: AnomalyArray) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        image = self._images.pop(stamp, None)
        if not self._settings.value.record and not self._publisher.get_subscription_count():
            return
        if image is None:
            self.skip("scores whose image was not seen")
            return
        frame = frame_from_image(image, 0)
        drawn = draw_overlay(frame.image, scores_from(message), self._class_names)
        self._publisher.publish(image_message(drawn, message.header))
        if self._settings.value.record:
            self._record(stamp, drawn)

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
