from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
)
from tao_anomaly.visualization.history import SceneHistory

MakeScores = Callable[..., AnomalyScores]


@pytest.fixture
def show(make_scores: MakeScores) -> Callable[..., None]:
    """Show a history one object at column x, or none, at a time in seconds."""

    def at(history: SceneHistory, seconds: float, x: float | None, *, epoch: int = 0) -> None:
        objects = [] if x is None else [((x, 10, x + 2, 30), AnomalyState.NORMAL, 1 + seconds)]
        history.update(make_scores(*objects, seconds=seconds, epoch=epoch))

    return at


def event(phase: EventPhase = EventPhase.START, number: int = 1) -> AnomalyEvent:
    box = np.zeros(4, np.float32)
    return AnomalyEvent(phase, f"0-0/{number}", "0-0", 0, NANOSECONDS, 0.0, 5.0, 2.0, box, "m")


def test_a_trail_is_the_last_second(show) -> None:
    history = SceneHistory()
    for step in range(16):
        show(history, step / 10, step)
    assert history.trail("0-0") == [(step + 1.0, 20.0) for step in range(5, 16)]
    assert history.trail("0-9") == []


def test_an_object_that_is_gone_leaves_no_trail(show) -> None:
    history = SceneHistory()
    show(history, 0.0, 1)
    show(history, 0.1, None)
    show(history, 0.2, 5)
    assert history.trail("0-0") == [(6.0, 20.0)]


def test_the_strip_is_relative_to_the_newest_image(show) -> None:
    history = SceneHistory()
    for seconds, x in ((0.0, 1), (5.0, None), (12.0, 1)):
        show(history, seconds, x)
    times, scores = zip(*history.strip, strict=True)
    assert times == (-7.0, 0.0)
    np.testing.assert_array_equal(scores, [np.nan, 13.0])


def test_events_run_from_start_to_end_while_their_object_is_there(show) -> None:
    history = SceneHistory()
    show(history, 1.0, 1)
    history.take(event())
    show(history, 3.5, 1)
    assert [(e.event_id, age) for e, age in history.events] == [("0-0/1", 2.5)]
    show(history, 3.6, None)
    assert history.events == []
    show(history, 3.7, 1)
    history.take(event(EventPhase.END))
    assert history.events == []
    history.take(event(EventPhase.END))  # one that was never seen to start


@pytest.mark.parametrize(("seconds", "epoch"), [(2.0, 1), (0.5, 0)])
def test_a_new_epoch_or_time_running_backward_clears_all(show, seconds: float, epoch: int) -> None:
    history = SceneHistory()
    show(history, 1.0, 1)
    history.take(event())
    show(history, seconds, 7, epoch=epoch)
    assert history.events == []
    assert len(history.strip) == 1
    assert history.trail(f"{epoch}-0") == [(8.0, 20.0)]


def test_a_history_is_bounded_at_any_rate(show) -> None:
    history = SceneHistory()
    for step in range(1500):
        show(history, step / 10_000, 1)
    for number in range(300):
        history.take(event(number=number))
    assert (len(history.trail("0-0")), len(history.strip), len(history.events)) == (1000, 1000, 256)
