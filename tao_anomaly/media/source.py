"""Frames of a video, an image folder, a rosbag or a camera, behind one iterator."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from tao_anomaly.media.image_encoding import ImageError, decode_compressed
from tao_anomaly.structures import NANOSECONDS, Frame

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
VIDEO_SUFFIXES = {".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"}
BAG_SUFFIXES = {".mcap", ".db3", ".bag"}
FOLDER_RATE = 10.0  # Hz assumed of an image folder, which holds no times


class SourceError(ValueError):
    """A source that cannot be read; the message names it and the remedy."""


class FrameSource(Protocol):
    """Iterable of Frame; every iteration starts at the first frame.

    name: what it is, for people. rate: frames a second. length: number of frames, None if unknown.
    skipped: unreadable images met by the latest iteration.
    """

    name: str
    rate: float
    length: int | None
    skipped: int

    def __iter__(self) -> Iterator[Frame]: ...


def open_source(
    source: str | Path, *, rate: float | None = None, topic: str | None = None
) -> FrameSource:
    """Open a video file, a folder of images, a rosbag (file or folder) or a camera index.

    rate: frames a second of an image folder, or in place of a video's own. topic: image topic of a
    bag, needed where it has several. Raises SourceError naming the source and the remedy.
    """
    if rate is not None and not rate > 0:
        raise SourceError(f"got rate {rate}, expected frames a second above 0")
    text = str(source)
    if text.isdecimal():
        return CameraSource(int(text))
    path = Path(text).expanduser()
    if not path.exists():
        raise SourceError(f"{path}: not found; expected a video, a folder of images or a rosbag")
    if path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").is_file():
        from tao_anomaly.media.bag import BagSource

        return BagSource(path, topic=topic)
    if path.is_dir():
        return ImageFolderSource(path, rate=rate or FOLDER_RATE)
    return VideoSource(path, rate=rate)


def open_clips(
    source: str | Path, *, rate: float | None = None, topic: str | None = None
) -> list[FrameSource]:
    """Open a source, or all sources that a folder without images holds, sorted.

    What cannot be read there is left out with a warning. Raises SourceError where nothing remains.
    """
    path = Path(source).expanduser()
    is_bag = (path / "metadata.yaml").is_file()
    if (
        not path.is_dir()
        or is_bag
        or any(p.suffix.lower() in IMAGE_SUFFIXES for p in path.iterdir())
    ):
        return [open_source(source, rate=rate, topic=topic)]
    clips: list[FrameSource] = []
    for inner in sorted(p for p in path.iterdir() if not p.name.startswith(".")):
        try:
            clips.append(open_source(inner, rate=rate, topic=topic))
        except SourceError as error:
            log.warning("left out: %s", error)
    if not clips:
        raise SourceError(f"{path}: holds no image, video or bag; name a source of normal footage")
    return clips


def stamp_of(index: int, rate: float) -> int:
    """Return the nanosecond stamp of frame `index` at `rate` frames a second, from 0."""
    return round(index * NANOSECONDS / rate)


class ImageFolderSource:
    """The images of one folder in natural order of their names (2 before 10)."""

    def __init__(self, folder: Path, *, rate: float = FOLDER_RATE) -> None:
        self.name = str(folder)
        self.rate = rate
        self.skipped = 0
        self.paths = sorted(
            (
                p
                for p in folder.iterdir()
                if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
            ),
            key=_natural,
        )
        if not self.paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(f"{folder}: no image in this folder; expected files {kinds}")
        self.length: int | None = len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the readable images; an unreadable one keeps its index and is counted."""
        self.skipped = 0
        for index, path in enumerate(self.paths):
            try:
                # Not cv2.imread, which fills what is missing of a truncated JPEG with grey.
                image = decode_compressed(path.read_bytes())
            except (OSError, ImageError) as error:
                self.skipped += 1
                log.warning("%s: skipped: %s", path, error)
                continue
            yield Frame(image, stamp_of(index, self.rate), index)


class VideoSource:
    """A video file read by OpenCV."""

    def __init__(self, path: Path, *, rate: float | None = None) -> None:
        self.path = path
        self.name = str(path)
        self.skipped = 0
        capture = self._open()
        stated = capture.get(cv2.CAP_PROP_FPS)
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if rate is None and not stated > 0:
            raise SourceError(f"{path}: states no frame rate; give one with rate=")
        self.rate = float(rate or stated)
        self.length: int | None = frames if frames > 0 else None

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened() or not capture.grab():
            raise SourceError(
                f"{self.path}: no video OpenCV can read; check the file or convert it, for example"
                " to H.264 in .mp4"
            )
        capture.release()
        return cv2.VideoCapture(str(self.path))

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame that decodes."""
        capture = self._open()
        index = 0
        try:
            while True:
                ok, image = capture.read()
                if not ok:
                    break
                yield Frame(np.asarray(image, np.uint8), stamp_of(index, self.rate), index)
                index += 1
        finally:
            capture.release()
        self.skipped = max(0, (self.length or index) - index)
        if self.skipped:
            log.warning("%s: %d frames at the end do not decode", self.path, self.skipped)


class CameraSource:
    """A camera attached to this machine, stamped with the wall clock."""

    length: int | None = None

    def __init__(self, index: int) -> None:
        self.index = index
        self.name = f"camera {index}"
        self.skipped = 0
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise SourceError(f"camera {index}: cannot be opened; check the index and who uses it")
        self.rate = float(self._capture.get(cv2.CAP_PROP_FPS) or 30.0)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the camera gives none."""
        index = 0
        while True:
            ok, image = self._capture.read()
            if not ok:
                return
            yield Frame(np.asarray(image, np.uint8), time.time_ns(), index)
            index += 1


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"([0-9]+)", path.name)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts], path.name
