"""Bags that appear whole or not at all, readable by rosbag2 and rosbags, written without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from tao_anomaly.media.anomaly_bag import message_types
from tao_anomaly.media.source import SourceError

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(9223372036, 854775807)


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag and the quality of service it was offered with.

    transient: whether late subscribers were given the latest `depth` messages.
    """

    name: str
    msgtype: str
    depth: int = 10
    reliable: bool = True
    transient: bool = False

    @property
    def qos(self) -> Qos:
        """The profile as bags hold it."""
        return Qos(
            QosHistory.KEEP_LAST,
            self.depth,
            QosReliability.RELIABLE if self.reliable else QosReliability.BEST_EFFORT,
            QosDurability.TRANSIENT_LOCAL if self.transient else QosDurability.VOLATILE,
            _FOREVER,
            _FOREVER,
            QosLiveliness.AUTOMATIC,
            _FOREVER,
            avoid_ros_namespace_conventions=False,
        )


class BagWriter:
    """Context manager that writes a bag folder; definitions of all messages are embedded.

    The folder gets its name when everything is written. After an error nothing is left of it.
    """

    def __init__(self, target: Path, topics: Sequence[BagTopic], *, storage: str = "mcap") -> None:
        if target.exists():
            raise SourceError(f"{target}: exists already; name a new folder for the bag")
        if storage not in STORAGES:
            raise SourceError(f"got storage {storage!r}, expected one of {', '.join(STORAGES)}")
        self.target = target
        self.topics = tuple(topics)
        # The file inside bears the name of its folder, so that only the folder around differs.
        self._scratch = target.parent / f".{target.name}.part"
        shutil.rmtree(self._scratch, ignore_errors=True)  # of a process that was killed
        self._writer = Writer(
            self._scratch / target.name, version=9, storage_plugin=STORAGES[storage]
        )
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        types = message_types()
        try:
            self._writer.open()
            for topic in self.topics:
                self._connections[topic.name] = self._writer.add_connection(
                    topic.name,
                    topic.msgtype,
                    typestore=types,
                    offered_qos_profiles=[topic.qos],
                )
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, topic: str, stamp_ns: int, message: bytes) -> None:
        """Add a serialised message of one of the topics; raises OSError where the disk is full."""
        self._writer.write(self._connections[topic], stamp_ns, message)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._writer.close()
                (self._scratch / self.target.name).rename(self.target)
        finally:
            self._discard()

    def _discard(self) -> None:
        try:
            self._writer.abort()
        except OSError:
            pass  # what was buffered does not fit on the disk either
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
