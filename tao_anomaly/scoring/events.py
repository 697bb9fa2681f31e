"""Events: an object's anomalous behaviour from its start to its end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tao_anomaly.config import ScorerConfig
from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
    FloatArray,
)


@dataclass
class _Episode:
    """Anomalous images of one track; an event once it has lasted."""

    class_id: int
    first_ns: int
    last_ns: int
    peak: float
    box: FloatArray
    number: int = 0  # 0: not an event yet


class EventDetector:
    """Debounces the states of each track into START and END.

    An event starts when its object was ANOMALOUS in all its images of `event_start` seconds and
    ends when it was in none, or was gone, for `event_end` seconds, or when a new epoch began.

    Events are numbered from the whole second of the first stamp on, as epochs are: a scorer started
    again on a running camera repeats no id of the one before (unless that one found more events
    than it ran seconds), and replayed footage has the same ids every time.
    """

    def __init__(self, config: ScorerConfig) -> None:
        self.config = config
        self._episodes: dict[str, _Episode] = {}
        self._count: int | None = None
        self._epoch: int | None = None

    def reset(self) -> None:
        """Forget all episodes without ending them."""
        self._episodes.clear()
        self._epoch = None

    def update(self, scores: AnomalyScores) -> list[AnomalyEvent]:
        """Return the events that start with this image in order of its tracks, then those that end.

        Those that a new epoch ends come first.
        """
        if self._count is None:
            self._count = scores.stamp_ns // NANOSECONDS
        changed = scores.epoch != self._epoch and self._epoch is not None
        self._epoch = scores.epoch
        events = self._close(list(self._episodes), scores) if changed else []
        for row, track_id in enumerate(scores.tracks.ids):
            if scores.states[row] == AnomalyState.ANOMALOUS:
                events += self._extend(track_id, row, scores)
            elif track_id in self._episodes and not self._episodes[track_id].number:
                del self._episodes[track_id]
        return events + self._close(self._over(scores.stamp_ns), scores)

    def _extend(self, track_id: str, row: int, scores: AnomalyScores) -> list[AnomalyEvent]:
        score, box = float(scores.scores[row]), scores.tracks.boxes[row]
        episode = self._episodes.get(track_id)
        if episode is None:
            class_id = int(scores.tracks.class_ids[row])
            episode = _Episode(class_id, scores.stamp_ns, scores.stamp_ns, -math.inf, box)
            self._episodes[track_id] = episode
        episode.last_ns = scores.stamp_ns
        if score > episode.peak:
            episode.peak, episode.box = score, box
        lasted = scores.stamp_ns - episode.first_ns >= self.config.event_start * NANOSECONDS
        if episode.number or not lasted:
            return []
        assert self._count is not None
        self._count += 1
        episode.number = self._count
        return [_event(EventPhase.START, track_id, episode, scores)]

    def _over(self, stamp_ns: int) -> list[str]:
        """Return the tracks whose pause is long enough; this image's anomalous ones have none."""
        pause_ns = max(1, round(self.config.event_end * NANOSECONDS))
        return [
            i for i, episode in self._episodes.items() if stamp_ns - episode.last_ns >= pause_ns
        ]

    def _close(self, track_ids: list[str], scores: AnomalyScores) -> list[AnomalyEvent]:
        ended = [(track_id, self._episodes.pop(track_id)) for track_id in track_ids]
        return [
            _event(EventPhase.END, track_id, episode, scores)
            for track_id, episode in ended
            if episode.number
        ]


def _event(
    phase: EventPhase, track_id: str, episode: _Episode, scores: AnomalyScores
) -> AnomalyEvent:
    return AnomalyEvent(
        phase=phase,
        event_id=f"{track_id}/{episode.number}",
        track_id=track_id,
        class_id=episode.class_id,
        start_ns=episode.first_ns,
        duration=(episode.last_ns - episode.first_ns) / NANOSECONDS,
        peak_score=episode.peak,
        threshold=scores.threshold,
        box=episode.box,
        model_id=scores.model_id,
    )
