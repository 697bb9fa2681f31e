from __future__ import annotations

from tao_anomaly.config import TrackerConfig
from tao_anomaly.structures import NANOSECONDS
from tao_anomaly.tracking.tracker import EpochGuard

SIZE = (240, 360)


def guard_at(seconds: float) -> EpochGuard:
    guard = EpochGuard(TrackerConfig(max_gap=2.0))
    assert guard.check(round(seconds * NANOSECONDS), SIZE) == ""
    assert guard.epoch == int(seconds)
    return guard


def test_a_steady_stream_stays_in_its_epoch() -> None:
    guard = guard_at(0)
    for index in range(1, 20):
        assert guard.check(index * NANOSECONDS // 10, SIZE) == ""
    assert guard.epoch == 0


def test_a_gap_begins_an_epoch_only_beyond_its_limit() -> None:
    guard = guard_at(10)
    assert guard.check(12 * NANOSECONDS, SIZE) == ""  # exactly the limit
    assert guard.check(14 * NANOSECONDS + 1, SIZE) == "no image for 2.000 s"
    assert guard.epoch == 11
    assert guard.check(15 * NANOSECONDS, SIZE) == ""
    assert guard.epoch == 11


def test_time_going_back_begins_an_epoch_once() -> None:
    guard = guard_at(10)
    assert guard.check(3 * NANOSECONDS, SIZE) == "time went back by 7.000 s"
    assert guard.check(4 * NANOSECONDS, SIZE) == ""
    assert guard.epoch == 11


def test_another_image_size_begins_an_epoch() -> None:
    guard = guard_at(0)
    reason = guard.check(NANOSECONDS, (480, 640))
    assert reason == "image size changed from (240, 360) to (480, 640)"
    assert guard.check(NANOSECONDS + 1, (480, 640)) == ""
    assert guard.epoch == 1


def test_only_the_latest_stamp_is_a_duplicate() -> None:
    guard = EpochGuard(TrackerConfig())
    assert not guard.is_duplicate(0)
    guard.check(0, SIZE)
    assert guard.is_duplicate(0)
    guard.check(1, SIZE)
    assert not guard.is_duplicate(0)
    assert guard.is_duplicate(1)


def test_after_a_restart_any_image_continues_the_new_epoch() -> None:
    guard = guard_at(100)
    guard.restart()
    assert guard.epoch == 101
    assert not guard.is_duplicate(100 * NANOSECONDS)
    assert guard.check(5 * NANOSECONDS, (480, 640)) == ""
    assert guard.epoch == 101


def test_a_guard_made_anew_on_a_running_stream_repeats_no_epoch() -> None:
    guard = guard_at(1_700_000_000.25)
    epochs = {guard.epoch}
    for second in (10, 5, 20):  # a gap, time going back, a gap
        guard.check(round((1_700_000_000.25 + second) * NANOSECONDS), SIZE)
        epochs.add(guard.epoch)
    assert epochs == {1_700_000_000 + n for n in range(4)}
    assert guard_at(1_700_000_025.5).epoch not in epochs
