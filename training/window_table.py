"""All windows of a set of clips, as row numbers into one table of observations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tao_anomaly.config import WindowConfig
from tao_anomaly.structures import (
    BoolArray,
    FeatureLayout,
    FloatArray,
    IntArray,
    TrackFeatures,
    TrackWindows,
)
from tao_anomaly.windows import TrackBuffer

LARGEST_ROW = 2**24  # whole numbers a float32 holds exactly


@dataclass(frozen=True)
class WindowTable:
    """M windows of T steps over N observations.

    visual ``(N, A + grid)`` float16: GAP feature and RoI grid. kinematics ``(N, K)`` float32. rows
    ``(M, T)``: observation of each step, -1 where there is none. times ``(M, T)`` in seconds.
    aspect ``(M,)``: image width over height. track ``(M,)``: number of the track, unique over the
    clips. following ``(M,)``: the next window of the same track, -1 for its last. ahead ``(M, F)``:
    observations after the window, -1 past the track's end.
    """

    layout: FeatureLayout
    visual: np.ndarray
    kinematics: FloatArray
    rows: IntArray
    times: FloatArray
    aspect: FloatArray
    track: IntArray
    following: IntArray
    ahead: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def valid(self) -> BoolArray:
        """``(M, T)``: True where a step was observed."""
        return self.rows >= 0

    def kinematic_windows(self) -> FloatArray:
        """Return the kinematics ``(M, T, K)`` of all windows; zeros where a step is invalid."""
        return np.where(self.valid[..., None], self.kinematics[self.rows], np.float32(0))

    def arrays(
        self, windows: IntArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray, BoolArray, FloatArray]:
        """Return features ``(m, T, D)``, times, valid and aspect of some windows.

        rows ``(m, T)``: other observations to fill the windows' steps with.
        """
        features = self.features(self.rows[windows] if rows is None else rows)
        return features, self.times[windows], self.valid[windows], self.aspect[windows]

    def features(self, rows: IntArray) -> FloatArray:
        """Return feature vectors ``(..., D)`` of observations; zeros where a row is -1.

        The class scores are zeros too: no network takes them.
        """
        out = np.zeros((*rows.shape, self.layout.dim), np.float32)
        seen = rows >= 0
        visual, kinematics = self.visual[rows[seen]], self.kinematics[rows[seen]]
        values = np.zeros((len(visual), self.layout.dim), np.float32)
        values[:, self.layout.appearance_slice] = visual[:, : self.layout.appearance]
        values[:, self.layout.kinematics_slice] = kinematics
        values[:, self.layout.grid_slice] = visual[:, self.layout.appearance :]
        out[seen] = values
        return out


def build_table(
    clips: Iterable[Iterable[TrackFeatures]],
    *,
    layout: FeatureLayout,
    windows: WindowConfig,
    steps_ahead: int,
) -> WindowTable:
    """Cut all windows of clips, each with its own TrackBuffer; ValueError where there is none."""
    parts: list[_ClipWindows] = []
    visual: list[np.ndarray] = []
    kinematics: list[FloatArray] = []
    first_row = first_track = 0
    for clip in clips:
        frames = list(clip)
        part = _cut_clip(frames, windows, steps_ahead)
        parts.append(part.shifted(first_row, first_track))
        visual += [_visual(frame, layout) for frame in frames]
        kinematics += [frame.features[:, layout.kinematics_slice] for frame in frames]
        first_row += sum(len(frame.tracks) for frame in frames)
        first_track += part.tracks
    rows = np.concatenate([part.rows for part in parts]) if parts else np.zeros((0, 1), np.int64)
    if not len(rows):
        raise ValueError(
            "got no window in the clips, expected some; give footage in which objects are tracked"
            f" for at least {windows.min_observations} frames"
        )
    track = np.concatenate([part.track for part in parts])
    return WindowTable(
        layout=layout,
        visual=np.concatenate(visual),
        kinematics=np.concatenate(kinematics),
        rows=rows,
        times=np.concatenate([part.times for part in parts]),
        aspect=np.concatenate([part.aspect for part in parts]),
        track=track,
        following=_following(track),
        ahead=np.concatenate([part.ahead for part in parts]),
    )


@dataclass(frozen=True)
class _ClipWindows:
    rows: IntArray
    times: FloatArray
    aspect: FloatArray
    track: IntArray
    ahead: IntArray
    tracks: int

    def shifted(self, row: int, track: int) -> _ClipWindows:
        """Return the windows with rows and tracks counted on from those of earlier clips."""
        return replace(
            self,
            rows=np.where(self.rows >= 0, self.rows + row, -1),
            ahead=np.where(self.ahead >= 0, self.ahead + row, -1),
            track=self.track + track,
        )


def _cut_clip(frames: list[TrackFeatures], config: WindowConfig, steps_ahead: int) -> _ClipWindows:
    """Cut one clip with a TrackBuffer that carries row numbers instead of features."""
    buffer = TrackBuffer(config)
    numbers: dict[str, int] = {}
    seen: dict[str, list[int]] = {}
    cut: list[TrackWindows] = []
    row = 0
    for frame in frames:
        finite = np.asarray(np.isfinite(frame.features).all(axis=1))
        numbered = np.arange(row, row + len(finite), dtype=np.float32)
        for i in np.flatnonzero(finite):
            seen.setdefault(frame.tracks.ids[i], []).append(row + int(i))
        carrier = np.where(finite, numbered, np.nan)[:, None].astype(np.float32)
        cut.append(buffer.update(replace(frame, features=carrier)))
        row += len(finite)
    if row > LARGEST_ROW:
        raise ValueError(f"got a clip of {row} observations, expected at most {LARGEST_ROW}")
    owners = [w.tracks.ids[i] for w in cut for i in w.index]
    for owner in owners:
        numbers.setdefault(owner, len(numbers))
    length = config.length
    rows = np.concatenate(
        [np.where(w.valid, w.features[..., 0], -1) for w in cut] or [np.zeros((0, length))]
    ).astype(np.int64)
    return _ClipWindows(
        rows=rows,
        times=np.concatenate([w.times for w in cut] or [np.zeros((0, length), np.float32)]),
        aspect=np.array(
            [w.image_size[1] / w.image_size[0] for w in cut for _ in w.index], np.float32
        ),
        track=np.array([numbers[owner] for owner in owners], np.int64),
        ahead=_ahead(rows, owners, seen, steps_ahead),
        tracks=len(numbers),
    )


def _ahead(rows: IntArray, owners: list[str], seen: dict[str, list[int]], steps: int) -> IntArray:
    """Return the `steps` observations after the newest of each window, -1 past the end."""
    ahead = np.full((len(rows), steps), -1, np.int64)
    for window, owner in enumerate(owners):
        later = np.searchsorted(seen[owner], rows[window, -1], side="right")
        found = seen[owner][later : later + steps]
        ahead[window, : len(found)] = found
    return ahead


def _following(track: IntArray) -> IntArray:
    """Return the next window of the same track; windows of a track are in order of time."""
    following = np.full(len(track), -1, np.int64)
    order = np.argsort(track, kind="stable")
    same = track[order][1:] == track[order][:-1]
    following[order[:-1][same]] = order[1:][same]
    return following


def _visual(frame: TrackFeatures, layout: FeatureLayout) -> np.ndarray:
    parts = (layout.appearance_slice, layout.grid_slice)
    values = np.concatenate([frame.features[:, part] for part in parts], axis=1)
    return values.astype(np.float16)
