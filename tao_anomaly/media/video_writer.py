"""Writes annotated images as a video."""

from __future__ import annotations

from pathlib import Path

import cv2

from tao_anomaly.structures import ImageArray


class VideoWriter:
    """An .mp4 whose size is that of its first image; it appears under its name when closed.

    Use it as a context manager: after an exception nothing is left behind.
    """

    def __init__(self, path: Path, *, rate: float) -> None:
        self.path = path
        self._part = path.with_name(f".part-{path.name}")
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)

    def write(self, image: ImageArray) -> None:
        """Add a ``(H, W, 3)`` BGR image; raises OSError where no encoder works."""
        if self._writer is None:
            size = image.shape[1], image.shape[0]
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._part), codec, self._rate, size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path}: OpenCV has no mp4v encoder here; use video=false")
        self._writer.write(image)
