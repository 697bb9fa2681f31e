"""Images of a rosbag (mcap, sqlite3 or ROS 1), read in code, every one, without ROS."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from tao_anomaly.media.image_encoding import ImageError, decode_compressed, decode_raw
from tao_anomaly.media.source import SourceError
from tao_anomaly.structures import NANOSECONDS, Frame, ImageArray

log = logging.getLogger(__name__)

_RAW = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"


class BagSource:
    """One image topic of a bag, in recorded order, stamped by the messages' headers."""

    def __init__(self, path: Path, *, topic: str | None = None) -> None:
        # A rosbag2 file without its metadata.yaml is read as it is; with it, as a folder.
        folder = (
            path.parent if path.is_file() and (path.parent / "metadata.yaml").exists() else path
        )
        self.path = folder if path.suffix != ".bag" else path
        self.name = str(path)
        self.skipped = 0
        with closing(self._open()) as reader:
            self.topic = _choose(reader, path, topic)
            found = [c for c in reader.connections if c.topic == self.topic]
            self.length: int | None = sum(c.msgcount for c in found)
            seconds = reader.duration / NANOSECONDS
        self.rate = (self.length - 1) / seconds if self.length > 1 and seconds > 0 else 1.0

    def _open(self) -> AnyReader:
        try:
            reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except Exception as error:
            raise SourceError(f"{self.path}: not a readable rosbag ({error})") from error
        return reader

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images that decode; another keeps its index and is counted."""
        self.skipped = 0
        with closing(self._open()) as reader:
            wanted = [c for c in reader.connections if c.topic == self.topic]
            for index, (connection, _, raw) in enumerate(reader.messages(connections=wanted)):
                message: Any = reader.deserialize(raw, connection.msgtype)
                try:
                    image = _decode(message, connection.msgtype)
                except ImageError as error:
                    self.skipped += 1
                    log.warning(
                        "%s: message %d of %s skipped: %s", self.path, index, self.topic, error
                    )
                    continue
                stamp = message.header.stamp
                yield Frame(image, stamp.sec * NANOSECONDS + stamp.nanosec, index)


def _choose(reader: AnyReader, path: Path, topic: str | None) -> str:
    topics = sorted({c.topic for c in reader.connections if c.msgtype in (_RAW, _COMPRESSED)})
    if topic is None and len(topics) == 1:
        return topics[0]
    if topic in topics:
        return str(topic)
    listed = ", ".join(topics) or "none"
    raise SourceError(
        f"{path}: got topic {topic or '(none given)'}, expected one of its image topics: {listed};"
        " choose it with topic="
    )


def _decode(message: Any, kind: str) -> ImageArray:
    if kind == _COMPRESSED:
        return decode_compressed(message.data)
    return decode_raw(
        np.asarray(message.data),
        height=message.height,
        width=message.width,
        step=message.step,
        encoding=message.encoding,
        is_bigendian=bool(message.is_bigendian),
    )
