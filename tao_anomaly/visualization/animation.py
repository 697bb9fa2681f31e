"""The best part of an annotated video as a short animation, and one picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tao_anomaly.media.source import open_source
from tao_anomaly.structures import ImageArray, IntArray
from tao_anomaly.visualization.findings import Finding
from tao_anomaly.visualization.pictures import encode_animation

_SECONDS = 10.0
_WIDTH = 560  # pixels of the animation
_QUALITY = 60
_RATE = 8.0  # images a second, at most


def write_animation(video: Path, animation: Path, picture: Path, events: Sequence[Finding]) -> None:
    """Write the part of a video with the most different anomalies as WebP, and its best image.

    events: that the video shows, whose frames are the video's. Raises SourceError or OSError.
    """
    source = open_source(video)
    count = source.length or 0
    shown = anomalies_shown(events, count)
    first, last = best_part(shown, round(_SECONDS * source.rate))
    best = first + int(shown[first:last].sum(axis=1).argmax()) if last > first else 0
    step = max(1, round(source.rate / _RATE))
    images: list[ImageArray] = []
    for frame in source:
        if frame.index == best:
            _write(picture, cv2.imencode(".jpg", frame.image)[1].tobytes())
        if first <= frame.index < last and (frame.index - first) % step == 0:
            scale = _WIDTH / frame.image.shape[1]
            small = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            images.append(np.asarray(small, np.uint8))
    _write(animation, encode_animation(images, round(1000 * step / source.rate), _QUALITY))


def anomalies_shown(events: Sequence[Finding], count: int) -> np.ndarray:
    """Return which of the labelled tracks an event shows in which frame, bool ``(count, K)``."""
    tracks = sorted({track for event in events for track in event.labels})
    shown = np.zeros((count, len(tracks)), np.bool_)
    for event in events:
        columns = np.array([tracks.index(track) for track in event.labels], np.int64)
        frames: IntArray = event.frames[event.frames < count]
        shown[np.ix_(frames, columns)] = True
    return shown


def best_part(shown: np.ndarray, length: int) -> tuple[int, int]:
    """Return first and one past the last frame of the part that shows most tracks, most often.

    shown: bool ``(F, K)``. The first of several that are equal.
    """
    count = len(shown)
    length = min(length, count)
    best, value = 0, (-1, -1)
    for first in range(count - length + 1):
        part = shown[first : first + length]
        found = int(part.any(axis=0).sum()), int(part.sum())
        if found > value:
            best, value = first, found
    return best, best + length


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(data)
    unfinished.replace(path)
