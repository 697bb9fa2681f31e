"""Where an object is, how large, and how both change: geometry of its track, in seconds."""

from __future__ import annotations

from collections import deque

import numpy as np

from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.structures import NANOSECONDS, FloatArray, Tracks
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion

# Lengths are in image heights; x and y are shares of the image's width and height.
TRACK_KINEMATICS = ("x", "y", "log_width", "log_height", "velocity_x", "velocity_y", "size_rate")
KINEMATICS = (*TRACK_KINEMATICS, *(f"flow_{eighth}" for eighth in range(DIRECTIONS)))
_TINY = np.finfo(np.float64).tiny


class KinematicsEstimator:
    """Keeps the recent boxes of each track and fits their rates of change.

    A velocity is what opposite edges of the box share, once what width and height share of their
    growth, an object that comes nearer, is taken off. So a box that grows to one side does not
    move: somebody steps out from behind another, or two are boxed as one.

    span: seconds of the past a rate is fitted on by least squares; a track seen once has rates 0.
    Where the camera moves, all values of a track are measured in the image it was first seen in.
    """

    def __init__(self, *, span: float) -> None:
        self.span_ns = round(span * NANOSECONDS)
        self._history: dict[str, deque[tuple[int, np.ndarray]]] = {}
        self._to_first: dict[str, CameraMotion] = {}  # of tracks that saw the camera move

    def reset(self) -> None:
        """Forget all tracks."""
        self._history.clear()
        self._to_first.clear()

    def update(
        self,
        tracks: Tracks,
        stamp_ns: int,
        image_size: tuple[int, int],
        motion: CameraMotion = STILL,
    ) -> FloatArray:
        """Return the values named by TRACK_KINEMATICS, ``(N, 7)`` float32, of one image.

        motion: of the camera, from the last image to this one.
        """
        places = _places(self._stabilised(tracks, motion), image_size)
        for track_id, place in zip(tracks.ids, places, strict=True):
            history = self._history.setdefault(track_id, deque())
            history.append((stamp_ns, place))
            while stamp_ns - history[0][0] > self.span_ns and len(history) > 2:
                history.popleft()
        rates = _rates([self._history[track_id] for track_id in tracks.ids], stamp_ns)
        out = np.concatenate([places, rates], axis=1)
        out[:, 0] *= image_size[0] / image_size[1]
        self._forget(stamp_ns)
        return out.astype(np.float32)

    def _stabilised(self, tracks: Tracks, motion: CameraMotion) -> FloatArray:
        """Return the boxes ``(N, 4)`` as they would lie in the image their track was first seen in.

        Not in the stream's first image: a camera that drives on would be scaled beyond all bounds.
        """
        if motion is not STILL:
            back = motion.inverse()
            for track_id in self._history:
                self._to_first[track_id] = self._to_first.get(track_id, STILL).after(back)
        boxes = tracks.boxes.copy()
        for row, track_id in enumerate(tracks.ids):
            if track_id in self._to_first:
                boxes[row] = self._to_first[track_id].box(boxes[row])
        return boxes

    def _forget(self, stamp_ns: int) -> None:
        old = [
            track_id
            for track_id, history in self._history.items()
            if stamp_ns - history[-1][0] > 4 * self.span_ns + NANOSECONDS
        ]
        for track_id in old:
            del self._history[track_id]
            self._to_first.pop(track_id, None)


def _places(boxes: FloatArray, image_size: tuple[int, int]) -> np.ndarray:
    """Return centre x, centre y, ln width, ln height in image heights, ``(N, 4)``."""
    scaled = boxes.astype(np.float64) / image_size[0]
    sides = np.maximum(scaled[:, 2:] - scaled[:, :2], 1e-6)
    return np.concatenate([(scaled[:, :2] + scaled[:, 2:]) / 2, np.log(sides)], axis=1)


def _rates(histories: list[deque[tuple[int, np.ndarray]]], now_ns: int) -> np.ndarray:
    """Return velocity x, velocity y and the slope of ln height, a second, ``(N, 3)``.

    By least squares; those of an object seen once are 0.
    """
    if not histories:
        return np.zeros((0, 3))
    counts = np.array([len(history) for history in histories])
    starts, rows = np.cumsum(counts) - counts, np.repeat(np.arange(len(counts)), counts)
    seen = [entry for history in histories for entry in history]
    times = (np.array([stamp_ns for stamp_ns, _ in seen]) - now_ns) / NANOSECONDS
    places = np.concatenate([place for _, place in seen]).reshape(-1, 4)
    centres, half = places[:, :2], np.exp(places[:, 2:]) / 2
    edges = np.concatenate([centres - half, centres + half], axis=1)
    table = np.column_stack([times, edges, half, places[:, 3]])
    means = np.add.reduceat(table, starts) / counts[:, None]
    centred = table - means[rows]
    products = np.add.reduceat(centred[:, :1] * centred, starts)
    slopes = products[:, 1:] / np.maximum(products[:, :1], _TINY)
    low, high, half_rates, size_rate = np.split(slopes, [2, 4, 6], axis=1)
    size = means[:, 5:7]
    growth = _shared(*(half_rates / size).T)[:, None] * size
    return np.concatenate([_shared(low + growth, high - growth), size_rate], axis=1)


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the one of two rates that is nearer to 0, and 0 where their signs differ (minmod)."""
    return np.where(a * b > 0, np.sign(a) * np.minimum(np.abs(a), np.abs(b)), 0.0)
