from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tao_anomaly.scoring.calibration import Calibration

TWO = Calibration(
    term_names=("speed", "appearance"),
    location=(1.0, 10.0),
    scale=(0.5, 2.0),
    weights=(3.0, 1.0),
    cap=4.0,
    threshold={"rule": "fixed", "value": 2.0},
)


def test_terms_are_standardised_and_capped_by_hand() -> None:
    raw = np.array([[1.0, 10.0], [2.0, 4.0], [9.0, -90.0]], np.float32)
    standardised = TWO.standardise(raw)
    assert standardised.tolist() == [[0, 0], [2, -1], [4, -1]]  # no term is more normal than -1
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


def test_fit_measures_the_tail_of_the_finite_rows() -> None:
    steps = np.stack([np.arange(11.0), np.full(11, 5.0)], axis=1)
    raw = np.concatenate([steps, [[np.nan, 100], [100, np.inf]]]).astype(np.float32)
    fitted = Calibration.fit(raw, term_names=("a", "b"), weights=(1, 1), cap=10)
    # Of 0 to 10 the tail begins at 9, and 10 is 1 beyond: a tenth reaches 9, so 9 is ln(10) - 1.
    assert fitted.scale == (1.0, 1.0)  # a term that never varies keeps its unit, and says nothing
    np.testing.assert_allclose(fitted.location, (10 - np.log(10), 5))
    found = fitted.standardise(np.array([[9, 5], [12, 8]], np.float32))
    np.testing.assert_allclose(found, [[np.log(10) - 1, 0], [np.log(10) + 2, 3]], rtol=1e-6)
    assert fitted.threshold["value"] > 1e38  # nothing is anomalous until a rule has been fitted


def test_what_merely_moves_has_tails_of_its_own_where_there_is_enough_of_it() -> None:
    known = np.tile(np.arange(11.0), 10)[:, None]
    raw = np.concatenate([known, known * 100]).astype(np.float32)
    moving = np.arange(220) >= 110
    settings = {"term_names": ("a",), "weights": (1,), "cap": 10.0}
    fitted = Calibration.fit(raw, moving=moving, **settings)
    assert (fitted.scale, fitted.moving_scale) == ((1.0,), (100.0,))
    found = fitted.standardise(np.array([[9], [900]], np.float32), np.array([False, True]))
    np.testing.assert_allclose(found, np.log(10) - 1, rtol=1e-6)
    without = fitted.standardise(np.array([[9]], np.float32))
    np.testing.assert_allclose(without, np.log(10) - 1, rtol=1e-6)
    few = Calibration.fit(raw[:200], moving=moving[:200], **settings)
    assert (few.moving_location, few.moving_scale) == ((), ())
    assert few == Calibration.fit(raw[:200], **settings)
    same = few.standardise(raw[:1], np.array([True]))
    assert same.tolist() == few.standardise(raw[:1]).tolist()


@pytest.mark.parametrize(("few", "scale"), [(0.1, 1.0), (4.0, 4.0)])
def test_what_nearly_all_have_adds_nothing(few: float, scale: float) -> None:
    raw = np.zeros((100, 1), np.float32)
    raw[7:12] = few  # of one track, say: so little makes no unit
    fitted = Calibration.fit(raw, term_names=("stay",), weights=(1,), cap=10)
    assert fitted.location == (0,)
    assert fitted.scale == pytest.approx((scale,))
    found = fitted.standardise(np.array([[0], [8]], np.float32))
    np.testing.assert_allclose(found, [[0], [8 / scale]], rtol=1e-6)


def test_a_term_says_how_few_normal_windows_reach_it() -> None:
    raw = np.random.default_rng(0).exponential([2, 0.1], (20_000, 2)).astype(np.float32)
    raw += np.array([5, -3], np.float32)
    fitted = Calibration.fit(raw, term_names=("a", "b"), weights=(1, 1), cap=10)
    standardised = fitted.standardise(raw)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(standardised.std(axis=0), 1, rtol=0.1)
    for value in (2.0, 4.0):
        shares = (standardised >= value).mean(axis=0)
        np.testing.assert_allclose(np.log(shares), -1 - value, atol=0.25)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_little_footage_is_refused(rows: int) -> None:
    raw = np.concatenate([np.ones((rows, 2)), np.full((3, 2), np.nan)]).astype(np.float32)
    with pytest.raises(ValueError, match=f"got {rows} scored windows of normal footage"):
        Calibration.fit(raw, term_names=("a", "b"), weights=(1, 1), cap=10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"location": (1.0,)}, "key 'location' has 1 values, expected 2"),
        ({"weights": (1.0, 1.0, 1.0)}, "key 'weights' has 3 values, expected 2"),
        ({"scale": (1.0, 0.0)}, "key 'scale' is .* expected finite values above 0"),
        ({"scale": (1.0, float("nan"))}, "key 'scale'"),
        ({"cap": 0.0}, "key 'cap' is 0.0"),
        ({"weights": (0.0, 0.0)}, "key 'weights' is .* expected finite values of at least 0"),
        ({"weights": (2.0, -1.0)}, "key 'weights'"),
        ({"location": (float("nan"), 0.0)}, "key 'location' is .* expected finite values"),
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
