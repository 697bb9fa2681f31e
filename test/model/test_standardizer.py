from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.model.standardizer import LIMIT, Standardizer


def fitted(components: int = 3) -> tuple[Standardizer, np.ndarray]:
    generator = np.random.default_rng(0)
    mix = generator.normal(size=(3, 8))
    appearance = (generator.normal(size=(2000, 3)) * [5, 2, 1] @ mix + 7).astype(np.float32)
    motion = generator.normal(2.0, 3.0, size=(50, 4, 2)).astype(np.float32)
    valid = np.ones((50, 4), bool)
    valid[:, 0] = False
    motion[:, 0] = 1e6  # invalid: must not be counted
    place = generator.normal(size=(50, 5)).astype(np.float32)
    made = Standardizer.fit(
        appearance=appearance, motion=motion, place=place, valid=valid, components=components
    )
    return made, appearance


def test_whitened_components_are_uncorrelated_with_unit_variance() -> None:
    made, appearance = fitted()
    white = made.appearance(appearance)
    assert white.shape == (2000, 3)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.02)


def test_two_numbers_worked_out_by_hand() -> None:
    # Variance 4 along the first axis, 1 along the second.
    appearance = np.array([[12, 21], [12, 19], [8, 21], [8, 19]], np.float32)
    made = Standardizer.fit(
        appearance=appearance,
        motion=np.array([[[1.0], [3.0]]], np.float32),
        place=np.zeros((1, 5), np.float32),
        valid=np.ones((1, 2), bool),
        components=2,
    )
    np.testing.assert_allclose(
        made.appearance(np.array([[14.0, 20.0], [10.0, 23.0]], np.float32)),
        [[2.0, 0.0], [0.0, 3.0]],
        atol=1e-5,
    )
    np.testing.assert_allclose(made.motion(np.array([[5.0]], np.float32)), [[3.0]])


def test_invalid_steps_are_left_out_of_the_moments() -> None:
    made, _ = fitted()
    assert made.motion_mean.tolist() == pytest.approx([2.0, 2.0], abs=1.0)


def test_broken_values_are_clipped() -> None:
    made, appearance = fitted()
    assert np.abs(made.appearance(appearance * 1e6)).max() == LIMIT
    assert made.motion(np.full((1, 2), 1e9, np.float32)).tolist() == [[LIMIT, LIMIT]]


def test_more_components_than_features_give_all_features() -> None:
    made, appearance = fitted(components=99)
    white = made.appearance(appearance)
    assert white.shape == (2000, 8)
    assert np.isfinite(white).all()


def test_tensors_round_trip() -> None:
    made, appearance = fitted()
    again = Standardizer.from_tensors(made.tensors())
    np.testing.assert_array_equal(again.appearance(appearance), made.appearance(appearance))
