"""Why an event was one: steps that surprised the model, and normal objects that look alike."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tao_anomaly.config import WindowConfig
from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.detection.boxes import iou
from tao_anomaly.evaluation.features import EvaluationStore
from tao_anomaly.scoring.fitting import windows_of
from tao_anomaly.scoring.nearest import unit_length
from tao_anomaly.scoring.window_model import WindowModel
from tao_anomaly.structures import FloatArray, Tracks, TrackWindows
from tao_anomaly.visualization.findings import Finding

Json = dict[str, Any]
_NEIGHBOURS = 4  # shown of an event, each of another track
_CUES = ("appearance", "motion")
_SAME = 0.5  # IoU of two boxes of one object in one image


@runtime_checkable
class StepModel(Protocol):
    """A model that tells how well each step of a window is predicted."""

    def step_deviations(self, windows: TrackWindows) -> FloatArray:
        """Return ``(M, T, 2)``: how far appearance and motion of a hidden step are off."""
        ...


@dataclass(frozen=True)
class _Moment:
    """An event's window at its peak: those of an image, and which of them it is."""

    event: Finding
    windows: TrackWindows
    row: int


def event_evidence(
    events: Sequence[Finding],
    *,
    clips: Mapping[str, Clip],
    train: Sequence[Clip],
    store: EvaluationStore,
    model: WindowModel | None,
    windows: WindowConfig,
) -> list[Json]:
    """Return the evidence of events in `clips`, as JSON.

    train: clips of normal footage, whose objects are compared as far as the store holds them. The
    nearest are those with the least distance of the newest GAP feature, at length 1.
    """
    moments = [
        moment
        for name in dict.fromkeys(event.recording.name for event in events)
        for moment in _moments(
            [event for event in events if event.recording.name == name],
            store,
            clips[name],
            windows,
        )
    ]
    neighbours = _neighbours(moments, train, store)
    return [
        {
            "clip": moment.event.recording.name,
            "event": moment.event.name,
            "steps": _steps(moment, model),
            "neighbours": nearest,
        }
        for moment, nearest in zip(moments, neighbours, strict=True)
    ]


def _moments(
    events: Sequence[Finding], store: EvaluationStore, clip: Clip, config: WindowConfig
) -> Iterator[_Moment]:
    features = store.read(clip)
    peaks = {id(event): int(event.recording.table.frames[event.peak]) for event in events}
    latest: dict[str, tuple[TrackWindows, int]] = {}
    for frame, cut in zip(features.frames, windows_of(features.images, config), strict=True):
        for row, track in enumerate(cut.index):
            latest[cut.tracks.ids[track]] = cut, row
        for event in events:
            track_id = _track_of(event, cut.tracks) if peaks[id(event)] == frame else None
            if track_id in latest:
                yield _Moment(event, *latest[track_id])


def _track_of(event: Finding, tracks: Tracks) -> str | None:
    """Return the stored track that is where the event has its peak.

    Not the one of its id, which begins otherwise where the event was recorded from live images.
    """
    overlap = iou(event.recording.table.boxes[[event.peak]], tracks.boxes)[0]
    return tracks.ids[overlap.argmax()] if overlap.max(initial=0) > _SAME else None


def _steps(moment: _Moment, model: WindowModel | None) -> Json | None:
    members = getattr(model, "members", (model,))
    network = next((member for member in members if isinstance(member, StepModel)), None)
    if network is None:
        return None
    valid = moment.windows.valid[moment.row]
    found = network.step_deviations(moment.windows)[moment.row][valid]
    return {
        "times": [round(float(t), 3) for t in moment.windows.times[moment.row][valid]],
        "cues": list(_CUES),
        "deviations": [
            [round(float(v), 2) if np.isfinite(v) else None for v in cue] for cue in found.T
        ],
    }


def _neighbours(
    moments: Sequence[_Moment], train: Sequence[Clip], store: EvaluationStore
) -> list[list[Json]]:
    """Return the nearest normal objects of each moment, nearest first, a track once."""
    part = store.features.layout.appearance_slice
    seen = [moment.windows.features[moment.row, -1, part] for moment in moments]
    if not seen:
        return []
    best: list[dict[tuple[str, str], tuple[float, Json]]] = [{} for _ in seen]
    asked = unit_length(np.stack(seen))
    for clip in train:
        if store.name(clip.name) not in store.features.infos:
            continue
        for frame, image in store.features.iterate(store.name(clip.name)):
            if not len(image.tracks):
                continue
            near = 2 - 2 * asked @ unit_length(image.features[:, part]).T
            for i, row in enumerate(near.argmin(axis=1)):
                distance = float(np.sqrt(max(near[i, row], 0)))
                key = clip.name, image.tracks.ids[row]
                if distance < best[i].get(key, (np.inf, {}))[0]:
                    best[i][key] = distance, _place(clip, frame, image.tracks.boxes[row])
    nearest = [heapq.nsmallest(_NEIGHBOURS, of.values(), key=lambda pair: pair[0]) for of in best]
    return [[{**place, "distance": round(d, 4)} for d, place in pairs] for pairs in nearest]


def _place(clip: Clip, frame: int, box: FloatArray) -> Json:
    return {
        "clip": clip.name,
        "source": str(clip.source.resolve()),
        "topic": clip.topic,
        "frame": int(frame),
        "box": [round(float(side), 2) for side in box],
    }
