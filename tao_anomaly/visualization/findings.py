"""What stands out in a recording: its events and its most anomalous tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tao_anomaly.config import ScorerConfig
from tao_anomaly.metrics.by_kind import IOU_THRESHOLD
from tao_anomaly.metrics.regions import ScoredBoxes, join_videos, metric_boxes
from tao_anomaly.scoring.events import EventDetector
from tao_anomaly.structures import NANOSECONDS, AnomalyState, EventPhase, FloatArray, IntArray
from tao_anomaly.visualization.recording import Recording

_MOST_EVENTS = 1000  # listed, the highest


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An event, or a track at its highest score.

    rows ``(R,)``: of the recording's table, in order of time; peak: the one with the highest
    score. contributions ``(K,)``: what each term adds there.
    """

    recording: Recording
    name: str
    rows: IntArray
    peak: int

    @property
    def track(self) -> str:
        """Id of the track."""
        return str(self.recording.table.tracks[self.peak])

    @property
    def class_name(self) -> str:
        """Class of the object where its score is highest."""
        return str(self.recording.table.class_names[self.peak])

    @property
    def frames(self) -> IntArray:
        """Frame of each row ``(R,)``."""
        return self.recording.table.frames[self.rows]

    @property
    def score(self) -> float:
        """Highest score."""
        return float(self.recording.table.scores[self.peak])

    @property
    def contributions(self) -> FloatArray:
        """What each term adds to the highest score, ``(K,)``."""
        return self.recording.table.contributions[self.peak]

    @property
    def labels(self) -> tuple[int, ...]:
        """Tracks of the labels whose regions its boxes meet."""
        truth, table = self.recording.regions, self.recording.table
        if truth is None or not len(truth):
            return ()
        own = ScoredBoxes(
            self.frames, metric_boxes(table.boxes[self.rows]), np.zeros(len(self.rows))
        )
        met = np.unique(join_videos([truth], [own], IOU_THRESHOLD).pair_regions)
        return tuple(np.unique(truth.track_ids[met]).tolist())

    @property
    def is_labelled(self) -> bool | None:
        """Whether the labels agree: in its boxes, or, where they have none, in its frames."""
        if self.recording.regions is not None:
            return bool(self.labels)
        return self.recording.is_anomalous(int(self.frames[0]), int(self.frames[-1]))


def find_events(recording: Recording, config: ScorerConfig) -> list[Finding]:
    """Return the events of a recording, as the scorer's node would have sent them, by start."""
    table = recording.table
    if not (table.states == AnomalyState.ANOMALOUS).any():
        return []
    detector = EventDetector(config)
    latest = {}
    for _, scores in table.replay():
        for event in detector.update(scores):
            latest[event.event_id] = event
    of_track = _rows_by_track(recording)
    found = []
    for event in latest.values():
        rows = of_track[event.track_id]
        rows = rows[table.stamps[rows] >= event.start_ns]
        end = event.start_ns + round(event.duration * NANOSECONDS)
        if event.phase == EventPhase.START:  # it still ran at the end
            end = table.stamps[rows][table.states[rows] == AnomalyState.ANOMALOUS][-1]
        rows = rows[table.stamps[rows] <= end]
        peak = int(rows[np.nanargmax(table.scores[rows])])
        found.append(Finding(recording=recording, name=event.event_id, rows=rows, peak=peak))
    return sorted(found, key=lambda finding: (finding.frames[0], finding.name))


def all_events(recordings: Sequence[Recording], config: ScorerConfig) -> list[Finding]:
    """Return the events of all recordings, those with the highest score first."""
    found = [event for recording in recordings for event in find_events(recording, config)]
    return sorted(found, key=lambda event: -event.score)[:_MOST_EVENTS]


def _rows_by_track(recording: Recording) -> dict[str, IntArray]:
    """Return the rows of each track, in order of time."""
    ids, numbers = np.unique(recording.table.tracks.astype(str), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(numbers, minlength=len(ids)))[:-1])
    return dict(zip(ids.tolist(), groups, strict=True)) if len(ids) else {}


def highest_tracks(recordings: list[Recording], count: int) -> list[Finding]:
    """Return the `count` tracks with the highest scores of all recordings, highest first."""
    found = []
    for recording in recordings:
        table = recording.table
        scored = np.flatnonzero(np.isfinite(table.scores))
        order = scored[np.argsort(-table.scores[scored], kind="stable")]
        _, first = np.unique(table.tracks[order].astype(str), return_index=True)
        found += [(recording, int(peak)) for peak in order[np.sort(first)][:count]]
    found.sort(key=lambda pair: -float(pair[0].table.scores[pair[1]]))
    return [
        Finding(
            recording=recording,
            name=str(recording.table.tracks[peak]),
            rows=np.flatnonzero(recording.table.tracks == recording.table.tracks[peak]),
            peak=peak,
        )
        for recording, peak in found[:count]
    ]
