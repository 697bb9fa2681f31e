"""Images for the nodes that work on them: received, decoded and kept to one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tao_anomaly.media.image_encoding import ImageError
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.image_conversions import frame_from_image
from tao_anomaly.nodes.inputs import Input
from tao_anomaly.nodes.mailbox import Mailbox
from tao_anomaly.nodes.stage_node import SkippedError
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame

if TYPE_CHECKING:
    from tao_anomaly.nodes.parameters import Settings
    from tao_anomaly.nodes.settings import ImageInputSettings
    from tao_anomaly.nodes.stage_node import StageNode

ImageMessage: TypeAlias = Image | CompressedImage
T = TypeVar("T")


def image_topic(node: StageNode, transport: str) -> tuple[type, str]:
    """Return type and topic of the images: raw, or compressed beside the raw topic."""
    if transport == "raw":
        return Image, topics.IMAGE
    return CompressedImage, f"{node.resolve_topic_name(topics.IMAGE)}/compressed"


def subscribe_images(
    node: StageNode, transport: str, handle: Callable[[ImageMessage], None], *, depth: int = 1
) -> None:
    """Subscribe to the image topic, raw or compressed, as sensor data, until deactivated."""
    kind, topic = image_topic(node, transport)
    node.listen(kind, topic, handle, qos.image(depth))


class ImageInput(Input):
    """Decodes the newest image in a worker thread and hands it to `answer` with its header.

    While one image is in work the next waits; a newer one replaces it, and one that waited longer
    than `max_wait` is left out. Both are counted.
    """

    def __init__(
        self,
        node: StageNode,
        settings: Settings[ImageInputSettings],
        answer: Callable[[Frame, Header], None],
    ) -> None:
        self._settings = settings
        self._answer = answer
        self._index = 0
        self._work = node.answering(self._decode)
        self._mailbox: Mailbox[tuple[float, ImageMessage]] = Mailbox(self._take)
        kind, topic = image_topic(node, settings.value.image_transport)
        super().__init__(node, kind, topic, self._put, qos.image())

    def close(self) -> None:
        """Receive no more, and return when the image in work is done."""
        super().close()
        self._mailbox.close()

    def _put(self, message: ImageMessage) -> None:
        if self._mailbox.put((time.monotonic(), message)):
            self._node.skip("replaced by a newer one before its turn")

    def _take(self, item: tuple[float, ImageMessage]) -> None:
        arrived, message = item
        waited = time.monotonic() - arrived
        if 0 < self._settings.value.max_wait < waited:
            self._node.skip("waited longer than max_wait")
            return
        self._node.traffic.waiting.add(waited)
        self._work(message)

    def _decode(self, message: ImageMessage) -> None:
        try:
            frame = frame_from_image(message, self._index)
        except ImageError as error:
            raise SkippedError("unreadable image", error) from error
        if frame.stamp_ns == 0:
            raise SkippedError(
                "image without a stamp",
                "got header.stamp 0, expected the time of capture; the camera's driver must set it",
            )
        self._index += 1
        self._answer(frame, message.header)


def answer_or_skip(perception: Perception, process: Callable[[Frame], T | None], frame: Frame) -> T:
    """Return what `process` makes of an image; raises SkippedError where that is nothing."""
    before = perception.skipped.copy()
    result = process(frame)
    if result is None:
        raise SkippedError(*(perception.skipped - before))
    return result
