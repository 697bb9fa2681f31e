from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tao_anomaly.features.kinematics import KINEMATICS, TRACK_KINEMATICS, KinematicsEstimator
from tao_anomaly.structures import NANOSECONDS, FloatArray, Tracks

SIZE = (240, 360)


def tracks_of(**boxes: Sequence[float]) -> Tracks:
    count = len(boxes)
    zeros = np.zeros(count, np.int64)
    placed = np.array(list(boxes.values()), np.float32).reshape(count, 4)
    return Tracks(tuple(boxes), placed, np.ones(count, np.float32), zeros, zeros, zeros)


def moving(seconds: float) -> Sequence[float]:
    """Box of 20x60 px at the start; 48 px/s right, 24 px/s up, growing by e in 2 s."""
    growth = np.exp(seconds / 2)
    x, y = 100 + 48 * seconds, 150 - 24 * seconds
    return (x - 10 * growth, y - 30 * growth, x + 10 * growth, y + 30 * growth)


def at(estimator: KinematicsEstimator, seconds: float, **boxes: Sequence[float]) -> FloatArray:
    return estimator.update(tracks_of(**boxes), round(seconds * NANOSECONDS), SIZE)


def test_place_and_size_by_hand() -> None:
    values = at(KinematicsEstimator(span=0.5), 0.0, a=(90, 60, 110, 180))
    assert KINEMATICS[:4] == TRACK_KINEMATICS[:4] == ("x", "y", "log_width", "log_height")
    expected = [100 / 360, 120 / 240, np.log(20 / 240), np.log(120 / 240), 0, 0, 0]
    np.testing.assert_allclose(values, [expected], rtol=1e-6)
    assert values.dtype == np.float32


@pytest.mark.parametrize(
    "times", [np.arange(10) / 10, np.arange(30) / 30, [0, 0.03, 0.2, 0.31, 0.8]]
)
def test_straight_motion_gives_its_exact_rates_also_at_irregular_times(times) -> None:
    estimator = KinematicsEstimator(span=0.5)
    for seconds in times:
        values = at(estimator, seconds, a=moving(seconds))
    assert TRACK_KINEMATICS[4:] == ("velocity_x", "velocity_y", "size_rate")
    np.testing.assert_allclose(values[0, 4:], [48 / 240, -24 / 240, 0.5], rtol=1e-4)


@pytest.mark.parametrize(
    ("grows", "expected"),
    [
        ((0, 0, 0, 1), (0, 0)),  # the feet come out from behind something
        ((-1, 0, 0, 0), (0, 0)),  # somebody joins at the left
        ((1, 1, 1, 1), (1, 1)),  # it moves
        ((1, 0, 2, 0), (1, 0)),  # it moves on, and its box widens to the front
        ((-1, 0, 2, 0), (0, 0)),  # it only widens
        ((-2, -6, 2, 6), (0, 0)),  # it comes nearer
        ((-1, -6, 3, 6), (1, 0)),  # it comes nearer, and to the right
    ],
)
def test_only_what_opposite_edges_share_is_a_velocity(
    grows: Sequence[float], expected: tuple[float, float]
) -> None:
    """Edges of a box of 20x60 px, in pixels an image."""
    estimator = KinematicsEstimator(span=0.5)
    box = np.array([100, 60, 120, 120], np.float64)
    for step in range(-2, 3):
        values = at(estimator, (step + 2) / 10, a=(box + np.array(grows) * step).tolist())
    wanted = np.array(expected) * 10 / SIZE[0]
    np.testing.assert_allclose(values[0, 4:6], wanted, atol=1e-6)


def test_stamps_of_a_wall_clock_lose_no_precision() -> None:
    estimator = KinematicsEstimator(span=0.5)
    start = 1_760_000_000
    for step in range(10):
        tracks = tracks_of(a=moving(step / 30))
        stamp_ns = start * NANOSECONDS + step * NANOSECONDS // 30
        values = estimator.update(tracks, stamp_ns, SIZE)
    np.testing.assert_allclose(values[0, 4:], [0.2, -0.1, 0.5], rtol=1e-4)


def test_only_the_span_counts() -> None:
    """After a stop the velocity is zero as soon as the motion is older than the span."""
    estimator = KinematicsEstimator(span=0.5)
    for step in range(20):
        values = at(estimator, step / 10, a=moving(min(step, 10) / 10))
        if step == 12:
            assert 0 < values[0, 4] < 0.2
    np.testing.assert_allclose(values[0, 4:], 0, atol=1e-6)


def test_noise_is_averaged() -> None:
    random = np.random.default_rng(0)
    estimator = KinematicsEstimator(span=0.5)
    found = [
        at(estimator, step / 30, a=np.array(moving(step / 30)) + random.normal(0, 1, 4))[0, 4]
        for step in range(60)
    ]
    assert np.std(found[15:]) < 0.03  # two images alone would give 0.12 a second
    assert np.mean(found[15:]) == pytest.approx(0.2, abs=0.02)


def test_after_a_gap_the_two_sides_of_it_give_the_rate() -> None:
    estimator = KinematicsEstimator(span=0.5)
    for step in range(5):
        at(estimator, step / 10, a=moving(step / 10))
    values = at(estimator, 1.4, a=moving(1.4))
    np.testing.assert_allclose(values[0, 4:], [0.2, -0.1, 0.5], rtol=1e-4)


def test_tracks_do_not_mix_and_order_does_not_matter() -> None:
    estimator = KinematicsEstimator(span=0.5)
    still = (10, 10, 30, 50)
    for step in range(5):
        boxes = {"a": moving(step / 10), "b": still}
        names = ["a", "b"] if step % 2 else ["b", "a"]
        values = at(estimator, step / 10, **{name: boxes[name] for name in names})
    assert names == ["b", "a"]
    np.testing.assert_allclose(values[0, 4:], 0, atol=1e-6)
    np.testing.assert_allclose(values[1, 4:], [0.2, -0.1, 0.5], rtol=1e-4)


def test_tracks_seen_for_longer_or_shorter_have_the_rates_they_have_alone() -> None:
    together, alone = KinematicsEstimator(span=0.5), KinematicsEstimator(span=0.5)
    other = KinematicsEstimator(span=0.5)
    for step in range(8):
        boxes = {"a": moving(step / 10)}
        if step >= 4:
            boxes["b"] = moving(2 * step / 10)
        if step == 7:
            boxes["c"] = moving(0)
        values = at(together, step / 10, **boxes)
        first = at(alone, step / 10, a=boxes["a"])
        if "b" in boxes:
            second = at(other, step / 10, b=boxes["b"])
    np.testing.assert_allclose(values[:2], np.concatenate([first, second]), rtol=1e-6)
    np.testing.assert_array_equal(values[2, 4:], 0)  # seen once


def test_a_reset_forgets_the_motion() -> None:
    estimator = KinematicsEstimator(span=0.5)
    for step in range(5):
        at(estimator, step / 10, a=moving(step / 10))
    estimator.reset()
    np.testing.assert_array_equal(at(estimator, 0.5, a=moving(0.5))[0, 4:], 0)


def test_boxes_without_height_stay_finite() -> None:
    values = at(KinematicsEstimator(span=0.5), 0.0, a=(10, 10, 10, 10))
    assert np.isfinite(values).all()


def test_no_tracks_give_no_rows() -> None:
    assert at(KinematicsEstimator(span=0.5), 0.0).shape == (0, 7)
