"""Who appears where a lost object is expected: the same one, as a rule, under another number.

A tracker loses who is fast or half hidden; without an heir, what was known of them begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tao_anomaly.structures import MOVING_OBJECT, NANOSECONDS, FloatArray, Tracks

_REACH = 1.0  # box heights from where an object is expected
_SPAN = 1.0  # seconds of a path that its velocity is taken over
_TOLD_AFTER = 0.25  # seconds of a path that tell a velocity

Place = NDArray[np.float64]  # centre x, centre y and height in pixels


class LostTracks:
    """Remembers for `within` seconds where the objects of a stream were lost."""

    def __init__(self, *, within: float) -> None:
        self.within = within
        self._paths: dict[str, deque[tuple[int, Place]]] = {}
        self._moving: dict[str, bool] = {}  # only its movement shows the object

    def reset(self) -> None:
        """Forget all objects."""
        self._paths.clear()
        self._moving.clear()

    def update(self, tracks: Tracks, stamp_ns: int) -> None:
        """Take in where the objects of an image are."""
        moving = tracks.class_ids == MOVING_OBJECT
        for row, (track_id, place) in enumerate(
            zip(tracks.ids, _places(tracks.boxes), strict=True)
        ):
            path = self._paths.setdefault(track_id, deque())
            path.append((stamp_ns, place))
            while stamp_ns - path[0][0] > _SPAN * NANOSECONDS:
                path.popleft()
            self._moving[track_id] = bool(moving[row])
        for track_id in [i for i in self._paths if self._is_old(i, stamp_ns)]:
            del self._paths[track_id], self._moving[track_id]

    def expected_at(self, tracks: Tracks, rows: Sequence[int], stamp_ns: int) -> list[str | None]:
        """Return which lost object is expected nearest to each of `rows`, None where none is.

        Within a box height, the larger of both; an object goes on at its velocity.
        """
        present = set(tracks.ids)
        lost = [i for i in self._paths if i not in present and not self._is_old(i, stamp_ns)]
        if not lost or not rows:
            return [None] * len(rows)
        expected = np.stack([_expected(self._paths[i], stamp_ns) for i in lost])
        places = _places(tracks.boxes[list(rows)])
        away = np.linalg.norm(places[:, None, :2] - expected[None, :, :2], axis=2)
        away /= np.maximum(places[:, None, 2], expected[None, :, 2])
        moving = np.array([self._moving[i] for i in lost])
        away[moving[None] != (tracks.class_ids[list(rows)] == MOVING_OBJECT)[:, None]] = np.inf
        away[np.isnan(away)] = np.inf  # a foreign box that is none hides no other
        nearest = away.argmin(axis=1)
        near = away[np.arange(len(rows)), nearest] <= _REACH
        return [lost[i] if found else None for i, found in zip(nearest, near, strict=True)]

    def _is_old(self, track_id: str, stamp_ns: int) -> bool:
        return stamp_ns - self._paths[track_id][-1][0] > self.within * NANOSECONDS


def _places(boxes: FloatArray) -> Place:
    edges = boxes.astype(np.float64)
    heights = np.maximum(edges[:, 3:] - edges[:, 1:2], 1e-6)
    return np.concatenate([(edges[:, :2] + edges[:, 2:]) / 2, heights], axis=1)


def _expected(path: deque[tuple[int, Place]], stamp_ns: int) -> Place:
    """Return the place at the velocity over the path, if that tells one."""
    (begun_ns, begin), (last_ns, last) = path[0], path[-1]
    if last_ns - begun_ns < _TOLD_AFTER * NANOSECONDS:
        return last
    moved = (last[:2] - begin[:2]) * ((stamp_ns - last_ns) / (last_ns - begun_ns))
    return np.append(last[:2] + moved, last[2])
