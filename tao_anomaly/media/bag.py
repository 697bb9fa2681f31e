"""Images of a rosbag (mcap, sqlite3 or ROS 1), read in code, every one, without ROS."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from tao_anomaly.media.image_encoding import ImageError, decode_compressed, decode_raw
from tao_anomaly.media.source import SourceError
from tao_anomaly.structures import NANOSECONDS, Frame, ImageArray

log = logging.getLogger(__name__)

_RAW = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"


class BagSource:
    """One image topic of a bag, in recorded order, stamped by the messages' headers.

    A header without a stamp stands for the time of its recording.
    """

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
        self.skipped = read = 0
        with closing(self._open()) as reader:
            for connection, recorded_ns, raw in self._messages(reader):
                read += 1
                try:
                    message: Any = reader.deserialize(raw, connection.msgtype)
                    image = _decode(message, connection.msgtype)
                except (AnyReaderError, ImageError) as error:
                    self.skipped += 1
                    log.warning("%s: message %d skipped: %s", self.name, read - 1, error)
                    continue
                stamp = message.header.stamp
                stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
                yield Frame(image, stamp_ns or recorded_ns, read - 1)
        lost = max(0, (self.length or read) - read)
        if lost:
            log.warning("%s: the last %d messages cannot be read", self.name, lost)
        self.skipped += lost

    def _messages(self, reader: AnyReader) -> Iterator[tuple[Any, int, bytes]]:
        """Yield the topic's messages up to where the file is damaged, if it is."""
        wanted = [c for c in reader.connections if c.topic == self.topic]
        try:
            yield from reader.messages(connections=wanted)
        except Exception as error:  # of the storage library: apsw, lz4, zstandard, struct...
            log.warning("%s: damaged: %s", self.name, error)


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
