from __future__ import annotations

import numpy as np

from tao_anomaly.scoring.nearest import Memory

VALUES = np.array([[0, 0], [3, 4], [0, 2]], np.float32)  # the last showed by its movement alone


def test_what_the_detector_knows_is_compared_with_its_like_and_what_moves_with_all() -> None:
    memory = Memory(VALUES, np.array([False, False, True]))
    asked = np.array([[0, 2], [0, 2]], np.float32)
    nearest = memory.distance(asked, np.array([False, True]), 1)
    np.testing.assert_allclose(nearest, [2, 0], atol=1e-6)
    both = memory.distance(asked, np.array([False, True]), 2)
    np.testing.assert_allclose(both, [(2 + np.sqrt(9 + 4)) / 2, (0 + 2) / 2], rtol=1e-6)


def test_with_too_few_of_its_like_all_are_asked() -> None:
    memory = Memory(VALUES, np.array([True, True, False]))
    found = memory.distance(np.array([[0, 0]], np.float32), np.array([False]), 2)
    np.testing.assert_allclose(found, [(0 + 2) / 2])
    more = memory.distance(np.array([[0, 0]], np.float32), np.array([False]), 9)
    np.testing.assert_allclose(more, [(0 + 2 + 5) / 3], rtol=1e-6)


def test_nothing_asked_is_nothing_answered() -> None:
    memory = Memory(VALUES, np.zeros(3, np.bool_))
    assert memory.distance(np.zeros((0, 2), np.float32), np.zeros(0, np.bool_), 1).shape == (0,)
