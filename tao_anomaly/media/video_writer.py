"""Writes annotated images as a video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tao_anomaly.structures import ImageArray


class VideoWriter:
    """An .mp4 whose size is that of its first image; it appears under its name when closed.

    Images of another size are scaled to it. Use it as a context manager: after an exception nothing
    is left behind.
    """

    def __init__(self, path: Path, *, rate: float) -> None:
        self.path = path
        self._part = path.with_name(f".part-{path.name}")
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

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
            self._size = image.shape[1], image.shape[0]
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._part), codec, self._rate, self._size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path}: OpenCV has no mp4v encoder here; use video=false")
        if (image.shape[1], image.shape[0]) != self._size:  # OpenCV would drop it, silently
            image = np.asarray(cv2.resize(image, self._size), np.uint8)
        self._writer.write(image)
