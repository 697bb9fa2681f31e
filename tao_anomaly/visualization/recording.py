"""What reports and figures show: scored recordings, with their labels where they have some."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tao_anomaly.media.anomaly_bag import read_anomalies
from tao_anomaly.media.score_table import LATENCY_FILE, ScoreTable, read_scores, table_of
from tao_anomaly.media.source import BAG_SUFFIXES, FrameSource, SourceError, open_source
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.metrics.text_formats import read_region_tracks
from tao_anomaly.structures import NANOSECONDS, Frame

Json = dict[str, Any]
_SLOWEST = 60.0  # seconds from stamp to recording
_DEFAULT_RATE = 10.0  # frames a second, where nothing tells


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The scores of one clip, video or bag.

    rate: frames a second. frame_count: frames F, scored or not. anomalous: first and last frame of
    each anomalous stretch, None without labels. regions: of the labels, None where they have none,
    with the kinds of their tracks where known. source: what the images are read from, if it is
    still there. by_stamp: whether its images are found by stamp, as in a bag, or by number.
    """

    name: str
    table: ScoreTable
    rate: float
    frame_count: int
    anomalous: tuple[tuple[int, int], ...] | None = None
    regions: RegionTracks | None = None
    kinds: Mapping[int, str] = field(default_factory=dict)
    source: str = ""
    topic: str | None = None
    by_stamp: bool = False

    def frame_scores(self) -> np.ndarray:
        """Return the highest score of each frame, ``(F,)``, NaN where nothing was scored."""
        highest = np.full(self.frame_count, np.nan)
        np.fmax.at(highest, self.table.frames, self.table.scores)
        return highest

    def thresholds(self) -> np.ndarray:
        """Return the threshold of each frame, ``(F,)``; the last known one where there is none."""
        values = np.full(self.frame_count, np.nan)
        values[self.table.frames] = self.table.thresholds
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            return values
        last = np.searchsorted(known, np.arange(self.frame_count), side="right") - 1
        return values[known[np.maximum(last, 0)]]

    def is_anomalous(self, first: int, last: int) -> bool | None:
        """Return whether the labels have an anomaly in the frames first to last."""
        if self.anomalous is None:
            return None
        return any(start <= last and first <= end for start, end in self.anomalous)

    def images(self) -> Iterator[tuple[int, Frame]]:
        """Yield number and frame of every image that can be read; none without a source."""
        frames = open_images(self.source, self.topic)
        if frames is None:
            return
        numbers = dict(zip(self.table.stamps.tolist(), self.table.frames.tolist(), strict=True))
        for frame in frames:
            number = numbers.get(frame.stamp_ns) if self.by_stamp else frame.index
            if number is not None:
                yield number, frame


def open_images(source: str, topic: str | None) -> FrameSource | None:
    """Open the images of a recording; None where they are not at hand."""
    try:
        return open_source(source, topic=topic) if source else None
    except SourceError:  # moved, or a bag without images
        return None


def recording_of_table(path: Path) -> Recording:
    """Read a table that ``tao_anomaly.infer`` or an evaluation wrote; raises ValueError."""
    table = read_scores(path)
    times = path.with_name(LATENCY_FILE)
    if times.is_file():
        table = replace(table, latency=tuple(json.loads(times.read_text("utf-8"))))
    return Recording(
        name=Path(table.source).name or path.stem,
        table=table,
        rate=table.rate or _DEFAULT_RATE,
        frame_count=int(table.images.max(initial=-1)) + 1,
        source=table.source,
    )


def recordings_of_results(folder: Path) -> tuple[list[Recording], Json]:
    """Read the clips that an evaluation wrote, and its ``details.json``; raises ValueError."""
    details: Json = json.loads((folder / "details.json").read_text("utf-8"))
    recordings = []
    for name, clip in details["clips"].items():
        path = folder / "scores" / f"{name}.parquet"
        truth = folder / "ground_truth" / f"{name}.txt"
        marks = clip["anomalous"]
        recordings.append(
            Recording(
                name=name,
                table=read_scores(path) if path.is_file() else table_of({}, class_names={}),
                rate=clip["rate"],
                frame_count=clip["frames"],
                anomalous=None if marks is None else tuple((a, b) for a, b in marks),
                regions=read_region_tracks(truth) if truth.is_file() else None,
                kinds={int(track): kind for track, kind in clip.get("kinds", {}).items()},
                source=clip["source"],
                topic=clip["topic"],
            )
        )
    return recordings, details


def recording_of_bag(bag: Path, *, topic: str | None = None) -> Recording:
    """Read the recorded scores of a bag; raises SourceError."""
    recorded = list(read_anomalies(bag, topic=topic))
    messages = {scores.stamp_ns: scores for _, scores in recorded}
    images = {number: messages[stamp] for number, stamp in enumerate(sorted(messages))}
    stamps = np.array(sorted(messages), np.int64)
    step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    rate = NANOSECONDS / step if step > 0 else _DEFAULT_RATE
    latency = [(time - scores.stamp_ns) / NANOSECONDS for time, scores in recorded]
    if not all(0 < seconds < _SLOWEST for seconds in latency):
        latency = []  # stamps and recording are by different clocks
    return Recording(
        name=bag.name,
        table=table_of(images, class_names={}, rate=rate, latency=tuple(latency)),
        rate=rate,
        frame_count=len(images),
        source=str(bag),
        by_stamp=True,
    )


def is_bag(path: Path) -> bool:
    """Tell whether a path is a rosbag, a file or a folder."""
    return path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").is_file()
