"""The text files of the AED evaluation: one file a video, one row a box, no header.

Ground truth: ``track,frame,x1,y1,x2,y2``. Detections: ``frame,x1,y1,x2,y2,score``. Boxes are
inclusive pixels, frames count from 0. Commas or blanks separate the values; any line end; empty
lines are skipped; an empty file is a video without rows. What a row may hold is ruled in `regions`;
a row that breaks a rule is refused with file and line.

Source of the formats: Georgescu et al., "A Background-Agnostic Framework with Adversarial Training
for Abnormal Event Detection in Video", TPAMI 2021 (its released tracks).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.metrics.regions import (
    LARGEST_NUMBER,
    FloatArray,
    MalformedRowsError,
    RegionTracks,
    ScoredBoxes,
    refuse_frames_beyond,
    whole_numbers,
)

TRACK_COLUMNS = ("track", "frame", "x1", "y1", "x2", "y2")
DETECTION_COLUMNS = ("frame", "x1", "y1", "x2", "y2", "score")

Video = TypeVar("Video", RegionTracks, ScoredBoxes)


@dataclass(frozen=True)
class VideoFiles:
    """The files of a tracks and a detections directory, read: one entry a video, sorted by name."""

    names: tuple[str, ...]
    ground_truth: tuple[RegionTracks, ...]
    detections: tuple[ScoredBoxes, ...]


def read_region_tracks(path: Path, *, clip_length: int | None = None) -> RegionTracks:
    """Read the ground truth of one video; `clip_length` (frames) refuses frames beyond the clip.

    Raises ValueError with file and line where a row breaks a rule of `regions`.
    """

    def video(rows: FloatArray) -> RegionTracks:
        return RegionTracks(
            track_ids=whole_numbers("track id", rows[:, 0], -LARGEST_NUMBER),
            frames=whole_numbers("frame", rows[:, 1], 0),
            boxes=rows[:, 2:],
        )

    return _read(path, TRACK_COLUMNS, video, clip_length)


def read_scored_boxes(path: Path, *, clip_length: int | None = None) -> ScoredBoxes:
    """Read the detections of one video; `clip_length` (frames) refuses frames beyond the clip.

    Raises ValueError with file and line where a row breaks a rule of `regions`.
    """

    def video(rows: FloatArray) -> ScoredBoxes:
        return ScoredBoxes(
            frames=whole_numbers("frame", rows[:, 0], 0), boxes=rows[:, 1:5], scores=rows[:, 5]
        )

    return _read(path, DETECTION_COLUMNS, video, clip_length)


def read_videos(
    tracks_directory: Path, detections_directory: Path, *, clip_length: int | None = None
) -> VideoFiles:
    """Read all ``.txt`` files of both directories; equal names are one video.

    A video without tracks file has no region (its detections are false positives), one without
    detections file no detection. Raises ValueError where a directory is missing or has no ``.txt``.
    """
    track_files = _text_files(tracks_directory, "ground truth", TRACK_COLUMNS)
    detection_files = _text_files(detections_directory, "detections", DETECTION_COLUMNS)
    if track_files.keys().isdisjoint(detection_files):
        warnings.warn(
            f"no file of {detections_directory} is named like one of {tracks_directory}: "
            "all detections count as false positives",
            stacklevel=2,
        )
    names = tuple(sorted(track_files.keys() | detection_files.keys()))
    return VideoFiles(
        names=names,
        ground_truth=tuple(
            read_region_tracks(track_files[name], clip_length=clip_length)
            if name in track_files
            else RegionTracks.empty()
            for name in names
        ),
        detections=tuple(
            read_scored_boxes(detection_files[name], clip_length=clip_length)
            if name in detection_files
            else ScoredBoxes.empty()
            for name in names
        ),
    )


def write_detections(directory: Path, videos: Mapping[str, ScoredBoxes]) -> None:
    """Write ``<name>.txt`` into `directory` for each video, an empty file where it has no box.

    Values are written in full: reading gives the same numbers. Track ids have no place in the
    format. Raises ValueError where a name is not a plain file name.
    """
    for name, video in videos.items():
        if not name or Path(name).name != name:
            raise ValueError(f"a video name must be a plain file name, got {name!r}")
        rows = zip(video.frames.tolist(), video.boxes.tolist(), video.scores.tolist(), strict=True)
        lines = (",".join(map(repr, (frame, *box, score))) + "\n" for frame, box, score in rows)
        write_atomically(directory / f"{name}.txt", "".join(lines))


def _text_files(directory: Path, what: str, columns: tuple[str, ...]) -> dict[str, Path]:
    """Return the ``.txt`` files of `directory` by name."""
    expected = f"expected one text file a video, rows {','.join(columns)}"
    if not directory.is_dir():
        raise ValueError(f"{what}: no directory {directory}; {expected}")
    files = {path.stem: path for path in directory.iterdir() if path.suffix == ".txt"}
    if not files:
        raise ValueError(f"{what}: no .txt file in {directory}; {expected}")
    return files


def _read(
    path: Path,
    columns: tuple[str, ...],
    video_of: Callable[[FloatArray], Video],
    clip_length: int | None,
) -> Video:
    """Read one file, naming file and line(s) where a row breaks a rule."""
    lines, rows = _read_rows(path, columns)
    try:
        video = video_of(rows)
        if clip_length is not None:
            refuse_frames_beyond(video, clip_length)
    except MalformedRowsError as error:
        numbers = " and ".join(str(lines[row]) for row in error.rows)
        raise ValueError(f"{path}, line {numbers}: {error.reason}") from error
    return video


def _read_rows(path: Path, columns: tuple[str, ...]) -> tuple[list[int], FloatArray]:
    """Return the line numbers ``(N,)`` and the values ``(N, len(columns))`` of one file."""
    lines, rows = [], []
    # Undecodable bytes become a mark that no number holds, so that they are reported by line.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            fields = line.split(",") if "," in line else line.split()
            try:
                row = [float(field) for field in fields]
            except ValueError:
                row = []
            if len(row) != len(columns):
                raise ValueError(
                    f"{path}, line {number}: expected {len(columns)} numbers "
                    f"{','.join(columns)}, got {line.strip()[:80]!r}"
                )
            lines.append(number)
            rows.append(row)
    return lines, np.array(rows, np.float64).reshape(-1, len(columns))
