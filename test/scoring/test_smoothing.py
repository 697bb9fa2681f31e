from __future__ import annotations

import math

import numpy as np
import pytest

from tao_anomaly.scoring.smoothing import MovingAverage
from tao_anomaly.structures import NANOSECONDS

TENTH = NANOSECONDS // 10


def test_equals_a_bias_corrected_average_of_weight_0_9() -> None:
    """exp(-0.1 / tau) = 0.9 makes it the textbook average m = 0.9 m + 0.1 x over 1 - 0.9^n."""
    average = MovingAverage(time_constant=-0.1 / math.log(0.9))
    values = [3.0, -1.0, 4.0, 1.0, 5.0]
    m = 0.0
    for n, value in enumerate(values, 1):
        m = 0.9 * m + 0.1 * value
        assert average.update(value, 7 * NANOSECONDS + n * TENTH) == pytest.approx(m / (1 - 0.9**n))


def test_the_first_value_counts_in_full_whatever_its_stamp() -> None:
    for stamp_ns in (0, 5, 1_760_000_000 * NANOSECONDS):
        assert MovingAverage(1.0).update(2.5, stamp_ns) == 2.5


def test_irregular_times_by_hand() -> None:
    average = MovingAverage(time_constant=1 / math.log(2))  # half the weight a second
    average.update(1.0, 0)
    assert average.update(4.0, NANOSECONDS) == pytest.approx((0.5 * 1 + 4) / 1.5)
    after_two = average.update(10.0, 3 * NANOSECONDS)
    assert after_two == pytest.approx((0.125 * 1 + 0.25 * 4 + 10) / 1.375)


def test_the_same_signal_at_twice_the_rate_is_smoothed_alike() -> None:
    slow, fast = MovingAverage(1.0), MovingAverage(1.0)
    for index in range(61):
        value = math.sin(index / 20)
        faster = fast.update(value, index * TENTH // 2)
        if index % 2 == 0:
            slower = slow.update(value, index * TENTH // 2)
    assert slower == pytest.approx(faster, abs=0.02)


def test_without_a_time_constant_nothing_is_smoothed() -> None:
    average = MovingAverage(0.0)
    assert [average.update(v, i * TENTH) for i, v in enumerate((1.0, 9.0, 2.0))] == [1, 9, 2]


def test_it_stays_within_the_values_it_saw() -> None:
    random = np.random.default_rng(0)
    average, stamp_ns = MovingAverage(0.3), 0
    for value in random.normal(0, 1, 500):
        stamp_ns += int(random.integers(1, NANOSECONDS))
        assert -4 < average.update(float(value), stamp_ns) < 4


def test_an_heir_goes_on_with_a_part_of_the_past_and_alone() -> None:
    average = MovingAverage(1.0)
    average.update(4.0, 0)
    heir = average.heir(0.5)
    # half of one value of 4 beside one of 1
    assert heir.update(1.0, 0) == pytest.approx((0.5 * 4 + 1) / 1.5)
    assert average.update(4.0, 0) == 4.0
