from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tao_anomaly.scoring.calibration import Calibration

TWO = Calibration(
    term_names=("speed", "appearance"),
    mean=(1.0, 10.0),
    scale=(0.5, 2.0),
    weights=(3.0, 1.0),
    cap=4.0,
    threshold={"rule": "fixed", "value": 2.0},
)


def test_terms_are_standardised_and_capped_by_hand() -> None:
    raw = np.array([[1.0, 10.0], [2.0, 4.0], [9.0, -90.0]], np.float32)
    standardised = TWO.standardise(raw)
    assert standardised.tolist() == [[0, 0], [2, -3], [4, -4]]
    assert standardised.dtype == np.float32


def test_contributions_are_weighted_by_shares_and_sum_to_the_score() -> None:
    added = TWO.contributions(np.array([[2.0, -3.0]], np.float32))
    np.testing.assert_allclose(added, [[1.5, -0.75]])
    scaled = replace(TWO, weights=(6.0, 2.0))
    np.testing.assert_allclose(scaled.contributions(np.array([[2.0, -3.0]], np.float32)), added)


def test_nan_stays_nan() -> None:
    standardised = TWO.standardise(np.array([[np.nan, 12.0]], np.float32))
    assert np.isnan(standardised[0, 0])
    assert standardised[0, 1] == 1
    assert np.isnan(TWO.contributions(standardised).sum())


def test_fit_measures_mean_and_deviation_of_the_finite_rows() -> None:
    raw = np.array([[1, 5], [3, 5], [np.nan, 100], [100, np.inf]], np.float32)
    fitted = Calibration.fit(raw, term_names=("a", "b"), weights=(1, 1), cap=10)
    assert fitted.mean == (2.0, 5.0)
    assert fitted.scale == (1.0, 1.0)  # a term that never varies keeps its unit
    assert fitted.standardise(np.array([[4, 6]], np.float32)).tolist() == [[2, 1]]
    assert fitted.threshold["value"] > 1e38  # nothing is anomalous until a rule has been fitted


def test_fitted_footage_has_mean_0_and_deviation_1() -> None:
    raw = np.random.default_rng(0).normal([5, -3], [2, 0.1], (1000, 2)).astype(np.float32)
    fitted = Calibration.fit(raw, term_names=("a", "b"), weights=(1, 1), cap=10)
    standardised = fitted.standardise(raw)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_little_footage_is_refused(rows: int) -> None:
    raw = np.concatenate([np.ones((rows, 2)), np.full((3, 2), np.nan)]).astype(np.float32)
    with pytest.raises(ValueError, match=f"got {rows} scored windows of normal footage"):
        Calibration.fit(raw, term_names=("a", "b"), weights=(1, 1), cap=10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (1.0,)}, "key 'mean' has 1 values, expected 2"),
        ({"weights": (1.0, 1.0, 1.0)}, "key 'weights' has 3 values, expected 2"),
        ({"scale": (1.0, 0.0)}, "key 'scale' is .* expected finite values above 0"),
        ({"scale": (1.0, float("nan"))}, "key 'scale'"),
        ({"cap": 0.0}, "key 'cap' is 0.0"),
        ({"weights": (0.0, 0.0)}, "key 'weights' is .* expected finite values of at least 0"),
        ({"weights": (2.0, -1.0)}, "key 'weights'"),
        ({"mean": (float("nan"), 0.0)}, "key 'mean' is .* expected finite values"),
    ],
)
def test_impossible_values_name_their_key(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TWO, **change)


def test_json_lists_are_taken_back() -> None:
    lists = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(TWO).items()
    }
    assert Calibration(**lists) == TWO
