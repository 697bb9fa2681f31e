from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from tao_anomaly.config import ScorerConfig
from tao_anomaly.scoring.events import EventDetector
from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
    TrackFeatures,
)

THRESHOLD = 2.0
MakeFeatures = Callable[..., TrackFeatures]
Show = Callable[..., list[AnomalyEvent]]


@pytest.fixture
def show(make_features: MakeFeatures) -> Show:
    """Show the scores of one image, by id, to a detector; None is an object that is not scored."""

    def update(
        detector: EventDetector, seconds: float, objects: Mapping[str, float | None], epoch: int = 0
    ) -> list[AnomalyEvent]:
        boxes = [[seconds, 0, seconds + 10, 20] for _ in objects]
        image = make_features(
            seconds, {name: [0] * 3 for name in objects}, boxes=boxes, epoch=epoch
        )
        scores = np.array([np.nan if s is None else s for s in objects.values()], np.float32)
        states = np.where(scores >= THRESHOLD, AnomalyState.ANOMALOUS, AnomalyState.NORMAL)
        states = np.where(np.isnan(scores), AnomalyState.WARMUP, states).astype(np.int64)
        none = np.zeros((len(scores), 0), np.float32)
        made = AnomalyScores(
            stamp_ns=image.stamp_ns,
            epoch=epoch,
            image_size=image.image_size,
            tracks=image.tracks,
            observations=np.zeros(len(scores), np.int64),
            states=states,
            scores=scores,
            raw=scores,
            terms=none,
            term_names=(),
            contributions=none,
            leading=("",) * len(scores),
            cues=("",) * len(scores),
            threshold=THRESHOLD,
            model_id="m",
        )
        return detector.update(made)

    return update


def phases(events: list[AnomalyEvent]) -> list[tuple[str, str]]:
    return [(event.phase.name, event.track_id) for event in events]


def test_an_event_from_start_to_end(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.3, event_end=1.0))
    found = {}
    for step in range(30):
        score = 3.0 + (step == 8) if 5 <= step <= 12 else 1.0
        found[step] = show(detector, step / 10, {"0-1": score})
    assert {step for step, events in found.items() if events} == {8, 22}
    (start,), (end,) = found[8], found[22]
    assert start.phase == EventPhase.START
    assert start.start_ns == 5 * NANOSECONDS // 10
    assert start.duration == pytest.approx(0.3)
    assert end.phase == EventPhase.END
    assert end.event_id == start.event_id == "0-1/1"
    assert end.start_ns == start.start_ns
    assert end.duration == pytest.approx(0.7)  # first to last anomalous image
    assert end.peak_score == 4.0
    np.testing.assert_allclose(end.box, [0.8, 0, 10.8, 20], rtol=1e-6)
    assert (end.threshold, end.model_id, end.class_id) == (THRESHOLD, "m", 0)


def test_a_short_pause_does_not_end_an_event(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.3, event_end=1.0))
    events = []
    for step in range(40):
        normal = 10 <= step < 19
        events += show(detector, step / 10, {"0-1": 1.0 if normal else 3.0})
    assert phases(events) == [("START", "0-1")]


def test_flicker_is_no_event(show: Show) -> None:
    """The object is anomalous in every third image, never for 0.3 s."""
    detector = EventDetector(ScorerConfig(event_start=0.3, event_end=1.0))
    for step in range(60):
        assert show(detector, step / 10, {"0-1": 3.0 if step % 3 == 0 else 1.0}) == []


def test_without_a_wait_the_first_image_starts_and_the_first_normal_one_ends(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.0, event_end=0.0))
    assert phases(show(detector, 0.0, {"0-1": 3.0})) == [("START", "0-1")]
    assert show(detector, 0.1, {"0-1": 3.0}) == []
    assert phases(show(detector, 0.2, {"0-1": 1.0})) == [("END", "0-1")]
    assert phases(show(detector, 0.3, {"0-1": 3.0})) == [("START", "0-1")]


def test_a_slow_stream_has_events_too(show: Show) -> None:
    """One image every two seconds, longer than the pause that ends an event."""
    detector = EventDetector(ScorerConfig(event_start=0.3, event_end=1.0))
    events = [show(detector, 2.0 * step, {"0-1": 3.0}) for step in range(5)]
    assert [phases(e) for e in events] == [[], [("START", "0-1")], [], [], []]
    assert phases(show(detector, 10.0, {"0-1": 1.0})) == [("END", "0-1")]


def test_an_object_that_is_gone_ends_its_event(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.0, event_end=1.0))
    show(detector, 0.0, {"0-1": 3.0})
    assert show(detector, 0.9, {}) == []
    assert phases(show(detector, 1.0, {})) == [("END", "0-1")]


def test_an_unscored_object_does_not_start_an_event(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.0))
    assert show(detector, 0.0, {"0-1": None}) == []


def test_a_new_epoch_ends_all_events_before_others_start(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.0))
    show(detector, 5.0, {"0-1": 3.0, "0-2": 3.0, "0-3": 1.0})
    events = show(detector, 0.0, {"1-1": 3.0}, epoch=1)
    assert phases(events) == [("END", "0-1"), ("END", "0-2"), ("START", "1-1")]
    assert [event.event_id for event in events] == ["0-1/6", "0-2/7", "1-1/8"]


def test_a_reset_ends_nothing_and_no_id_comes_twice(show: Show) -> None:
    detector = EventDetector(ScorerConfig(event_start=0.0))
    (first,) = show(detector, 0.0, {"0-1": 3.0})
    detector.reset()
    (second,) = show(detector, 0.0, {"0-1": 3.0})
    assert first.event_id != second.event_id


def test_a_scorer_started_again_repeats_no_id_and_a_replay_all(show: Show) -> None:
    def ids(detector: EventDetector, begin: float) -> list[str]:
        scores = [3.0, 1.0, 3.0, 1.0]  # of an object that the tracker knows all the time
        shown = [show(detector, begin + step, {"0-1": score}) for step, score in enumerate(scores)]
        return [event.event_id for events in shown for event in events if not event.phase]

    config = ScorerConfig(event_start=0.0, event_end=0.0)
    before, after = ids(EventDetector(config), 1000.5), ids(EventDetector(config), 1004.5)
    assert before == ["0-1/1001", "0-1/1002"]
    assert not set(before) & set(after)
    assert ids(EventDetector(config), 1000.5) == before
