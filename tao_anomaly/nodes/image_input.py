"""Images for the nodes that work on them: received, decoded and kept to one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tao_anomaly.media.image_encoding import ImageError
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.image_conversions import frame_from_image
from tao_anomaly.nodes.mailbox import Mailbox
from tao_anomaly.nodes.stage_node import StageNode
from tao_anomaly.structures import Frame

ImageMessage: TypeAlias = Image | CompressedImage


def subscribe_images(
    node: StageNode, transport: str, callback: Callable[[ImageMessage], None], *, depth: int = 1
) -> Subscription:
    """Subscribe to the image topic, raw or compressed, as sensor data."""
    profile = qos.image(depth)
    options = qos.overridable()
    if transport == "raw":
        return node.create_subscription(
            Image, topics.IMAGE, callback, profile, qos_overriding_options=options
        )
    topic = f"{node.resolve_topic_name(topics.IMAGE)}/compressed"
    return node.create_subscription(
        CompressedImage, topic, callback, profile, qos_overriding_options=options
    )


class ImageInput:
    """Decodes the newest image in a worker thread and hands it to `handle` with its header.

    While one image is in work the next waits; a newer one replaces it and is counted as skipped.
    """

    def __init__(
        self, node: StageNode, transport: str, handle: Callable[[Frame, Header], None]
    ) -> None:
        self._node = node
        self._handle = handle
        self._index = 0
        self._sequence: int | None = None
        self._mailbox: Mailbox[ImageMessage] = Mailbox(node.guarded(self._work))
        subscribe_images(node, transport, self._receive)

    def _receive(self, message: ImageMessage, info: dict[str, Any]) -> None:
        self._count_lost(info["publication_sequence_number"])
        if self._mailbox.put(message):
            self._node.skip("image replaced by a newer one before its turn")

    def _count_lost(self, sequence: int) -> None:
        """Count the images that the publisher sent and the middleware did not bring."""
        last, self._sequence = self._sequence, sequence
        topic = topics.IMAGE
        if last is None or sequence <= last + 1 or self._node.count_publishers(topic) != 1:
            return  # nothing is missing, or another publisher's numbers
        self._node.skip("image lost on its way", count=sequence - last - 1)

    def _work(self, message: ImageMessage) -> None:
        try:
            frame = frame_from_image(message, self._index)
        except ImageError as error:
            self._node.skip("unreadable image", error)
            return
        self._index += 1
        self._handle(frame, message.header)
        self._node.answered += 1

    def close(self) -> None:
        """Stop the worker thread when the image in work is done, and say what was done."""
        self._mailbox.close()
        left_out = sum(self._node.skipped.values())
        self._node.get_logger().info(
            f"{self._node.answered} images answered, {left_out} left out {dict(self._node.skipped)}"
        )
