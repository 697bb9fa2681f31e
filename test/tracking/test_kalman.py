from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.tracking.kalman import BoxFilter


class PlainFilter:
    """One box, with whole 8x8 matrices as in a textbook; noise as ByteTrack sets it at 30 Hz."""

    def __init__(self, measured: np.ndarray) -> None:
        h = measured[3]
        self.mean = np.concatenate([measured, np.zeros(4)])
        self.covariance = np.diag([(2 * h / 20) ** 2] * 4 + [(10 * 30 * h / 160) ** 2] * 4)

    def predict(self, seconds: float) -> None:
        motion = np.eye(8)
        motion[:4, 4:] = np.eye(4) * seconds
        h, frames = self.mean[3], seconds * 30
        noise = np.diag([(h / 20) ** 2 * frames] * 4 + [(30 * h / 160) ** 2 * frames] * 4)
        self.mean = motion @ self.mean
        self.covariance = motion @ self.covariance @ motion.T + noise

    def correct(self, measured: np.ndarray) -> None:
        seen = np.eye(4, 8)
        noise = np.eye(4) * (self.mean[3] / 20) ** 2
        spread = seen @ self.covariance @ seen.T + noise
        gain = self.covariance @ seen.T @ np.linalg.inv(spread)
        self.mean = self.mean + gain @ (measured - seen @ self.mean)
        self.covariance = (np.eye(8) - gain @ seen) @ self.covariance


def walk(random: np.random.Generator, steps: int) -> np.ndarray:
    start = np.array([200, 150, 30, 80]) + random.normal(0, 5, 4)
    rates = random.normal(0, [40, 20, 2, 4])
    times = np.arange(steps)[:, None] / 10
    return start + times * rates + random.normal(0, 1, (steps, 4))


def test_equals_the_plain_filter_over_irregular_times_and_missed_measurements() -> None:
    random = np.random.default_rng(0)
    paths = np.stack([walk(random, 40) for _ in range(3)], axis=1)  # steps, objects, values
    filters = BoxFilter.start(paths[0])
    plain = [PlainFilter(path) for path in paths[0]]
    for step in range(1, 40):
        seconds = float(random.uniform(0.02, 0.3))
        seen = np.flatnonzero(random.random(3) > 0.3)
        filters.predict(seconds)
        filters.correct(seen, paths[step, seen])
        for i, reference in enumerate(plain):
            reference.predict(seconds)
            if i in seen:
                reference.correct(paths[step, i])
            state = np.concatenate([filters.position[i], filters.velocity[i]])
            np.testing.assert_allclose(state, reference.mean, rtol=1e-9, atol=1e-9)
            blocks = reference.covariance.reshape(2, 4, 2, 4)
            for values, (a, b) in zip(
                (filters.pp, filters.pv, filters.vv), ((0, 0), (0, 1), (1, 1)), strict=True
            ):
                np.testing.assert_allclose(values[i], np.diag(blocks[a, :, b]), rtol=1e-9)
        assert np.all(filters.pp > 0)
        assert np.all(filters.pp * filters.vv - filters.pv**2 > 0)


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_a_constant_velocity_is_learned_at_any_rate(rate: int) -> None:
    velocity = np.array([120.0, -30.0, 0.0, 0.0])
    filters = BoxFilter.start(np.array([[0.0, 0.0, 40.0, 80.0]]))
    for step in range(1, 2 * rate + 1):
        filters.predict(1 / rate)
        measured = np.array([[0.0, 0.0, 40.0, 80.0]]) + velocity * step / rate
        filters.correct(np.array([0]), measured)
    np.testing.assert_allclose(filters.velocity, velocity[None], atol=1.0)
    np.testing.assert_allclose(filters.position, measured, atol=0.1)


def test_two_short_steps_grow_the_uncertainty_like_a_long_one() -> None:
    short, long = (BoxFilter.start(np.array([[0.0, 0.0, 40.0, 80.0]])) for _ in range(2))
    for _ in range(2):
        short.predict(0.1)
    long.predict(0.2)
    np.testing.assert_allclose(short.vv, long.vv, rtol=1e-12)
    np.testing.assert_allclose(short.pp, long.pp, rtol=0.05)


def test_boxes_never_shrink_below_a_pixel() -> None:
    filters = BoxFilter.start(np.array([[50.0, 50.0, 10.0, 10.0]]))
    for size in (8.0, 6.0, 4.0):
        filters.predict(0.1)
        filters.correct(np.array([0]), np.array([[50.0, 50.0, size, size]]))
    for _ in range(20):
        filters.predict(0.1)
    assert np.all(filters.position[:, 2:] == 1)
    assert np.all(np.isfinite(filters.pp))


def test_rows_are_kept_and_added() -> None:
    filters = BoxFilter.start(np.arange(12.0).reshape(3, 4))
    filters.keep(np.array([2, 0]))
    filters.append(BoxFilter.start(np.full((1, 4), 7.0)))
    assert len(filters) == 3
    assert filters.position[:, 0].tolist() == [8, 0, 7]
    assert all(len(getattr(filters, name)) == 3 for name in ("velocity", "pp", "pv", "vv"))
