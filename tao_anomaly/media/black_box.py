"""Black box: the messages around an event, from memory into an mcap file, within bounds."""

from __future__ import annotations

import os
import re
import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tao_anomaly.media.bag_writer import BagTopic, BagWriter
from tao_anomaly.structures import NANOSECONDS

_LATE = NANOSECONDS  # scores may follow their image by so much
_OVERHEAD = 200  # bytes of a file beside each message: record and index
_EMPTY_FILE = 100_000  # bytes of a file without messages: definitions and summary
_UNFINISHED = ".unfinished"
_OWN = re.compile(r"anomaly_\d{8}T\d{6}\.\d{9}_[0-9A-Za-z-]+\.mcap")


@dataclass(frozen=True)
class Recorded:
    """One serialised message and the time it belongs to."""

    topic: str
    stamp_ns: int
    message: bytes


@dataclass(frozen=True)
class EventClip:
    """The messages around an event in the order of their stamps."""

    event_id: str
    stamp_ns: int
    messages: tuple[Recorded, ...]

    @property
    def file_name(self) -> str:
        """UTC time of the event and its id."""
        seconds, rest = divmod(self.stamp_ns, NANOSECONDS)
        time = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
        return f"anomaly_{time}.{rest:09d}_{re.sub('[^0-9A-Za-z]+', '-', self.event_id)}.mcap"


class BlackBox:
    """Keeps the latest messages in memory; those around an event become a clip.

    before, after: seconds kept around the image that starts an event. max_bytes: of all messages;
    the oldest go first. An event during the seconds after another belongs to the clip of that one.
    dropped: messages that a clip lacks for want of memory.
    """

    def __init__(self, *, before: float, after: float, max_bytes: int) -> None:
        self.before_ns, self.after_ns = round(before * NANOSECONDS), round(after * NANOSECONDS)
        self.max_bytes = max_bytes
        self.dropped = 0
        self._kept: deque[Recorded] = deque()
        self._bytes = 0
        self._newest_ns = 0
        self._event: tuple[str, int] | None = None

    @property
    def collecting(self) -> bool:
        """Whether an event waits for the messages after it."""
        return self._event is not None

    def trigger(self, event_id: str, stamp_ns: int) -> bool:
        """Begin a clip around a time; False where the event falls into one that has begun."""
        if self._event is not None:
            return False
        self._event = event_id, stamp_ns
        return True

    def add(self, topic: str, stamp_ns: int, message: bytes) -> EventClip | None:
        """Keep a message; returns the clip that is complete now, if there is one.

        Where time goes back, what was before is over: its clip ends there.
        """
        clip = None
        if stamp_ns < self._newest_ns - _LATE:
            clip = self.finish()
            self._clear()
        self._newest_ns = max(self._newest_ns, stamp_ns)
        if self._event is not None and stamp_ns > self._event[1] + self.after_ns + _LATE:
            clip = self.finish()
        self._kept.append(Recorded(topic, stamp_ns, message))
        self._bytes += len(message)
        self._prune()
        return clip

    def finish(self) -> EventClip | None:
        """Return the clip of the event that waits, as far as it is known."""
        if self._event is None:
            return None
        (event_id, stamp_ns), self._event = self._event, None
        first, last = stamp_ns - self.before_ns, stamp_ns + self.after_ns
        inside = [entry for entry in self._kept if first <= entry.stamp_ns <= last]
        ordered = sorted(inside, key=lambda entry: entry.stamp_ns)
        return EventClip(event_id, stamp_ns, tuple(ordered))

    def _prune(self) -> None:
        horizon = (self._event[1] if self._event else self._newest_ns - _LATE) - self.before_ns
        while self._kept and self._kept[0].stamp_ns < horizon:
            self._bytes -= len(self._kept.popleft().message)
        while self._bytes > self.max_bytes:
            self._bytes -= len(self._kept.popleft().message)
            self.dropped += 1

    def _clear(self) -> None:
        self._kept.clear()
        self._bytes = self._newest_ns = 0


class SnapshotFolder:
    """Event clips as mcap files, within a number of files and of bytes; the oldest go first.

    Only files named like its own are counted and deleted. A file gets its name when it is whole.
    """

    def __init__(self, folder: Path, *, max_files: int, max_bytes: int) -> None:
        self.folder = folder
        self.max_files, self.max_bytes = max_files, max_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._discard_unfinished()

    def files(self) -> list[Path]:
        """Return the clips held, oldest event first."""
        return sorted(path for path in self.folder.iterdir() if _OWN.fullmatch(path.name))

    def save(self, clip: EventClip, topics: Sequence[BagTopic]) -> Path:
        """Write a clip and return its file.

        Raises OSError where it does not fit, on the disk or into `max_bytes`; nothing is left of it
        then.
        """
        self._make_room(_EMPTY_FILE + sum(len(m.message) + _OVERHEAD for m in clip.messages))
        target = self.folder / clip.file_name
        scratch = self.folder / _UNFINISHED / target.stem
        try:
            with BagWriter(scratch, topics) as writer:
                for entry in clip.messages:
                    writer.write(entry.topic, entry.stamp_ns, entry.message)
            written = scratch / target.name
            _flush(written)
            written.replace(target)
        finally:
            self._discard_unfinished()
        return target

    def _make_room(self, size: int) -> None:
        if size > self.max_bytes:
            raise OSError(
                f"got a clip of {size / 1e6:.1f} MB, expected at most {self.max_bytes / 1e6:.1f};"
                " keep fewer seconds or allow more"
            )
        held = self.files()
        sizes = [path.stat().st_size for path in held]
        while held and (len(held) >= self.max_files or sum(sizes) + size > self.max_bytes):
            held.pop(0).unlink(missing_ok=True)
            sizes.pop(0)

    def _discard_unfinished(self) -> None:
        shutil.rmtree(self.folder / _UNFINISHED, ignore_errors=True)


def _flush(path: Path) -> None:
    """Put a file on the disk, so that its name never stands for less than its content."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
