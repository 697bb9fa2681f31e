"""What pictures of an image show of the images before it: trails, frame scores, running events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tao_anomaly.structures import NANOSECONDS, AnomalyEvent, AnomalyScores, EventPhase

TRAIL = 1.0  # seconds of an object's way
STRIP = 10.0  # seconds of frame scores
_MOST_POINTS = 1000  # of a trail or of the strip, whatever the frame rate
_MOST_EVENTS = 256

Point = tuple[float, float]


class SceneHistory:
    """Trails of the present objects, frame scores and running events of one stream.

    strip: seconds relative to the newest image (<= 0) and frame score, oldest first, NaN where
    nothing was scored.
    """

    def __init__(self) -> None:
        self._trails: dict[str, deque[tuple[int, Point]]] = {}
        self._strip: deque[tuple[int, float]] = deque(maxlen=_MOST_POINTS)
        self._events: dict[str, AnomalyEvent] = {}
        self._epoch: int | None = None
        self._now = 0

    def update(self, scores: AnomalyScores, events: Iterable[AnomalyEvent] = ()) -> None:
        """Take in an image and the events that start or end with it."""
        if scores.epoch != self._epoch or scores.stamp_ns < self._now:
            self._trails.clear()
            self._strip.clear()
            self._events.clear()
        self._epoch, self._now = scores.epoch, scores.stamp_ns
        self._follow(scores)
        self._strip.append((scores.stamp_ns, scores.frame_score))
        while self._strip[0][0] < self._now - STRIP * NANOSECONDS:
            self._strip.popleft()
        for event in events:
            self.take(event)

    def take(self, event: AnomalyEvent) -> None:
        """Take in the start or the end of an event."""
        if event.phase == EventPhase.END:
            self._events.pop(event.event_id, None)
            return
        self._events[event.event_id] = event
        while len(self._events) > _MOST_EVENTS:
            del self._events[next(iter(self._events))]

    def trail(self, track_id: str) -> list[Point]:
        """Return the box centres of the last TRAIL seconds, oldest first, in pixels."""
        return [point for _, point in self._trails.get(track_id, ())]

    @property
    def strip(self) -> list[Point]:
        """Frame scores of the last STRIP seconds."""
        return [((stamp - self._now) / NANOSECONDS, score) for stamp, score in self._strip]

    @property
    def events(self) -> list[tuple[AnomalyEvent, float]]:
        """Running events of present objects, the first begun first, with their age in seconds."""
        return [
            (event, (self._now - event.start_ns) / NANOSECONDS)
            for event in self._events.values()
            if event.track_id in self._trails
        ]

    def _follow(self, scores: AnomalyScores) -> None:
        kept = {}
        for track_id, box in zip(scores.tracks.ids, scores.tracks.boxes, strict=True):
            points = self._trails.get(track_id, deque(maxlen=_MOST_POINTS))
            centre = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
            points.append((scores.stamp_ns, centre))
            while points[0][0] < self._now - TRAIL * NANOSECONDS:
                points.popleft()
            kept[track_id] = points
        self._trails = kept
