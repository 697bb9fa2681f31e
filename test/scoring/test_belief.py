from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.scoring.belief import belief, jitters
from tao_anomaly.structures import Tracks, TrackWindows

STEPS = 8


def window(seen: int, *, step: float = 0.1) -> TrackWindows:
    """A window of one object, of whose steps the latest are `seen`."""
    times = (np.arange(STEPS) - STEPS + 1) * step
    return TrackWindows(
        stamp_ns=0,
        epoch=0,
        image_size=(240, 360),
        tracks=Tracks(
            ("0-1",), np.zeros((1, 4), np.float32), *(np.zeros(1, np.int64) for _ in range(4))
        ),
        observations=np.array([seen]),
        index=np.zeros(1, np.int64),
        features=np.zeros((1, STEPS, 1), np.float32),
        times=times[None].astype(np.float32),
        valid=np.arange(STEPS)[None] >= STEPS - seen,
        stays=np.zeros(1, np.float32),
        feature_id="f",
    )


def path(*, speed: float, zigzag: float = 0.0, step: float = 0.1) -> np.ndarray:
    """Places ``(1, STEPS, 2)`` along x, every other one off by `zigzag` in y."""
    x = speed * step * np.arange(STEPS)
    return np.stack([x, zigzag * (np.arange(STEPS) % 2)], axis=1)[None].astype(np.float32)


def of(places: np.ndarray, speed: float, *, seen: int = STEPS, jitter: float = 0.001) -> float:
    found = belief(window(seen), places, np.array([speed], np.float32), jitter=jitter)
    assert found.dtype == np.float32
    return float(found[0])


def test_by_hand() -> None:
    # 8 steps of 0.1 s scatter by 0.42 s^2; a straight path leaves the usual jitter, 2 parts of 8
    assert of(path(speed=1.0), 1.0) == pytest.approx(1 / (1 + 9 * 0.001 / 4 / 0.42), rel=1e-4)


def test_a_box_that_jumps_about_is_believed_less() -> None:
    found = [of(path(speed=1.0, zigzag=z), 1.0) for z in (0, 0.1, 0.3, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.97
    assert found[-1] < 0.2


def test_more_speed_and_more_observations_are_believed_more() -> None:
    assert of(path(speed=0.1), 0.1) < of(path(speed=0.5), 0.5) < of(path(speed=2.0), 2.0)
    by_count = [of(path(speed=0.5), 0.5, seen=seen) for seen in range(1, STEPS + 1)]
    assert by_count[0] == 0
    assert by_count == sorted(by_count)


def test_who_stands_is_not_believed_to_move_and_nothing_divides_by_zero() -> None:
    assert of(path(speed=0.0), 0.0) == 0
    assert of(path(speed=0.0), 0.0, jitter=0.0) == 0
    assert of(path(speed=1.0), 1.0, jitter=0.0) == pytest.approx(1, abs=1e-3)


def test_steps_older_than_the_velocity_tell_nothing() -> None:
    """With 0.25 s a step five are within the second that a velocity is fitted on."""
    early = path(speed=1.0, step=0.25)
    early[0, :3, 1] = 5.0
    found = [
        belief(window(STEPS, step=0.25), places, np.ones(1, np.float32), jitter=0.001)
        for places in (early, path(speed=1.0, step=0.25))
    ]
    assert np.array_equal(*found)


def test_jitter_is_the_variance_about_a_straight_path() -> None:
    assert jitters(window(5), path(speed=1.0)).shape == (0,)  # too few to tell
    np.testing.assert_allclose(jitters(window(8), path(speed=1.0)), [0], atol=1e-9)
    # a zigzag of 0.2: 8 * 0.1^2, less what a line explains of it, over 6
    y = np.arange(8) % 2 * 0.2
    expected = np.square(y - np.polyval(np.polyfit(np.arange(8), y, 1), np.arange(8))).sum() / 6
    found = jitters(window(8), path(speed=1.0, zigzag=0.2))
    np.testing.assert_allclose(found, [expected], rtol=1e-4)
