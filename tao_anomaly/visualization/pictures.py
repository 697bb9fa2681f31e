"""Small pictures and short videos of findings, as data that a page holds within itself."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tao_anomaly.structures import AnomalyState, FloatArray, ImageArray
from tao_anomaly.visualization.colours import STATE_BGR
from tao_anomaly.visualization.findings import Finding
from tao_anomaly.visualization.recording import Recording, open_images

_CLIP_FRAMES = 24  # of a short video
_CLIP_WIDTH, _CLIP_HEIGHT = 320, 240  # pixels it fits in
_CLIP_QUALITY = 55
_THUMBNAIL = 176  # pixels a side
_THUMBNAIL_QUALITY = 80
_MARGIN = 0.35  # of the box, around it in a thumbnail
_LEAD = 0.5  # seconds shown before and after an event


@dataclass(frozen=True)
class Pictures:
    """Data URLs of a finding, "" where its images cannot be read."""

    thumbnail: str = ""
    video: str = ""


def take_pictures(
    recording: Recording, findings: Sequence[Finding], *, videos: int
) -> list[Pictures]:
    """Return the pictures of the findings of one recording; the images are read once.

    videos: how many of the findings, from the first, get a short video.
    """
    wanted = [_video_frames(f) if i < videos else [] for i, f in enumerate(findings)]
    users: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for i, finding in enumerate(findings):
        users[int(recording.table.frames[finding.peak])].append((i, True))
        for number in wanted[i]:
            users[number].append((i, False))
    thumbnails = [""] * len(findings)
    shots: list[list[ImageArray]] = [[] for _ in findings]
    last = max(users, default=-1)
    for number, frame in recording.images() if users else ():
        for i, is_peak in users.get(number, ()):
            if is_peak:
                row = findings[i].peak
                state = AnomalyState(int(recording.table.states[row]))
                thumbnails[i] = thumbnail(frame.image, recording.table.boxes[row], state)
            else:
                shots[i].append(_shot(findings[i], number, frame.image))
        if number >= last:
            break
    rate = recording.rate
    return [
        Pictures(thumbnails[i], _animation(images, _pace(wanted[i], rate)) if images else "")
        for i, images in enumerate(shots)
    ]


def place_thumbnails(
    source: str, topic: str | None, places: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return thumbnails of places, each with ``frame`` and ``box``, in the images of a source."""
    found = [""] * len(places)
    last = max((place["frame"] for place in places), default=-1)
    for frame in open_images(source, topic) or ():
        for i, place in enumerate(places):
            if place["frame"] == frame.index:
                found[i] = thumbnail(frame.image, np.array(place["box"], np.float32))
        if frame.index >= last:
            break
    return found


def thumbnail(image: ImageArray, box: FloatArray, state: AnomalyState | None = None) -> str:
    """Return a square JPEG around a box as a data URL, with the box in the colour of its state."""
    x1, y1, x2, y2 = map(float, box)
    side = max(x2 - x1, y2 - y1) * (1 + 2 * _MARGIN)
    cut, corner = _cut(image, ((x1 + x2) / 2, (y1 + y2) / 2), (side, side))
    scale = _THUMBNAIL / max(cut.shape[:2])
    small = _scaled(cut, scale)
    if state is not None:
        _draw_box(small, (box - np.tile(corner, 2)) * scale, state)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY]
    _, data = cv2.imencode(".jpg", small, quality)
    return data_url("image/jpeg", data.tobytes())


def data_url(kind: str, data: bytes) -> str:
    """Return data as a URL that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _video_frames(finding: Finding) -> list[int]:
    lead = round(_LEAD * finding.recording.rate)
    first = max(0, int(finding.frames[0]) - lead)
    last = min(finding.recording.frame_count - 1, int(finding.frames[-1]) + lead)
    count = min(_CLIP_FRAMES, last - first + 1)
    return np.unique(np.round(np.linspace(first, last, count)).astype(int)).tolist()


def _pace(frames: list[int], rate: float) -> int:
    """Return milliseconds an image is shown: real time, within what is still watchable."""
    span = (frames[-1] - frames[0]) / rate / max(1, len(frames) - 1)
    return round(1000 * min(max(span, 0.04), 0.3))


def _shot(finding: Finding, number: int, image: ImageArray) -> ImageArray:
    """Return the surroundings of a finding's whole way, with its box in this image."""
    table = finding.recording.table
    boxes = table.boxes[finding.rows]
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    height, width = image.shape[:2]
    size = np.maximum((high - low) * 1.3, [0.4 * width, 0.4 * height])
    aspect = _CLIP_WIDTH / _CLIP_HEIGHT
    size = np.maximum(size, [size[1] * aspect, size[0] / aspect])
    cut, corner = _cut(image, tuple((low + high) / 2), tuple(size))
    scale = min(_CLIP_WIDTH / cut.shape[1], _CLIP_HEIGHT / cut.shape[0])
    shot = _scaled(cut, scale)
    rows = finding.rows[table.frames[finding.rows] == number]
    for row in rows:
        state = AnomalyState(int(table.states[row]))
        _draw_box(shot, (table.boxes[row] - np.tile(corner, 2)) * scale, state)
    return shot


def _draw_box(image: ImageArray, box: np.ndarray, state: AnomalyState) -> None:
    x1, y1, x2, y2 = np.round(box).astype(int).tolist()
    cv2.rectangle(image, (x1, y1), (x2, y2), STATE_BGR[state], 2, cv2.LINE_AA)


def _cut(
    image: ImageArray, centre: tuple[float, float], size: tuple[float, float]
) -> tuple[ImageArray, np.ndarray]:
    """Return a part of an image, moved into it, and the part's upper left corner."""
    whole = np.array(image.shape[1::-1])
    extent = np.clip(np.round(size).astype(int), 8, whole)
    corner = np.clip(np.round(np.array(centre) - extent / 2).astype(int), 0, whole - extent)
    (x, y), (w, h) = corner, extent
    return image[y : y + h, x : x + w], corner


def encode_animation(images: list[ImageArray], milliseconds: int, quality: int) -> bytes:
    """Return images as an animated WebP that shows each for so long; b"" without an encoder."""
    animation = cv2.Animation()
    animation.frames = images
    animation.durations = [milliseconds] * len(images)
    options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    done, data = cv2.imencodeanimation(".webp", animation, options)
    return data.tobytes() if done else b""


def _animation(images: list[ImageArray], milliseconds: int) -> str:
    data = encode_animation(images, milliseconds, _CLIP_QUALITY)
    return data_url("image/webp", data) if data else ""


def _scaled(image: ImageArray, scale: float) -> ImageArray:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8)
