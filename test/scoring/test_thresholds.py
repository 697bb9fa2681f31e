from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from tao_anomaly.scoring.adaptive_threshold import AdaptiveThreshold
from tao_anomaly.scoring.normal_scores import NormalScores, ThresholdError
from tao_anomaly.scoring.thresholds import (
    AdaptiveRule,
    EvtRule,
    FixedRule,
    PercentileRule,
    make_rule,
    online_threshold,
    realised_rate,
)


def normal_scores(
    maxima: np.ndarray, *, length: int = 5, footage: float = 3600.0, offset: float = 0.0
) -> NormalScores:
    """One clip of tracks that follow each other, each below its maximum but for one image."""
    count = len(maxima)
    scores = np.repeat(maxima, length) - np.tile(np.r_[0.0, np.arange(1.0, length)], count)
    return NormalScores(
        scores=scores + offset,
        clips=np.full(count * length, "a"),
        tracks=np.repeat(np.arange(count), length).astype(str),
        times=np.arange(count * length) * footage / (count * length),
        footage=footage,
    )


def test_maxima_decluster_tracks_which_count_within_their_clip() -> None:
    normal = NormalScores(
        scores=np.array([1.0, 5.0, 2.0, 3.0, 4.0]),
        clips=np.array(["a", "a", "a", "b", "b"]),
        tracks=np.array(["0-1", "0-2", "0-1", "0-1", "0-1"]),
        times=np.array([0.0, 0.0, 0.1, 0.0, 0.1]),
        footage=36.0,
    )
    assert normal.maxima().tolist() == [2.0, 5.0, 4.0]
    assert normal.tracks_per_hour == 300.0
    assert [(s.start, s.stop) for s in normal.images] == [(0, 2), (2, 3), (3, 4), (4, 5)]


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_evt_realises_q_within_a_factor_of_two(shape: float) -> None:
    tail = stats.genpareto(shape, loc=2.0, scale=1.5)
    for seed in range(5):
        maxima = tail.rvs(10_000, random_state=seed)
        value = EvtRule(q=1e-3).fit(normal_scores(maxima, length=1))["value"]
        assert 0.5e-3 <= tail.sf(value) <= 2e-3


@pytest.mark.parametrize("family", ["gpd", "weibull"])
def test_evt_reaches_beyond_the_sample(family: str) -> None:
    # 400 tracks hold no quantile at 1e-3; the maximum of 8 normal scores has a known tail.
    def tail_of_maximum(value: float) -> float:
        return float(-np.expm1(8 * stats.norm.logcdf(value)))

    rng = np.random.default_rng(0)
    realised = []
    for _ in range(20):
        maxima = rng.normal(size=(400, 8)).max(axis=1)
        fitted = EvtRule(q=1e-3, family=family).fit(normal_scores(maxima))
        realised.append(tail_of_maximum(fitted["value"]))
    assert 0.5e-3 <= np.median(realised) <= 2e-3


def test_evt_is_scipys_genpareto_fit() -> None:
    maxima = stats.expon.rvs(size=1000, random_state=3)
    fitted = EvtRule(q=1e-4, tail=0.1).fit(normal_scores(maxima))
    start = np.sort(maxima)[-101]
    shape, _, scale = stats.genpareto.fit(np.sort(maxima)[-100:] - start, floc=0)
    assert fitted["exceedances"] == 100
    assert fitted["start"] == pytest.approx(start)
    assert (fitted["shape"], fitted["scale"]) == pytest.approx((shape, scale))
    # VaR of the peaks-over-threshold method, written out.
    expected = start + scale / shape * ((1e-4 / 0.1) ** -shape - 1)
    assert fitted["value"] == pytest.approx(expected)


def test_evt_holds_the_shape_where_maximum_likelihood_is_regular() -> None:
    maxima = np.random.default_rng(0).uniform(size=500)
    fitted = EvtRule(q=1e-3).fit(normal_scores(maxima))
    assert fitted["shape"] == -0.5
    assert fitted["value"] > maxima.max()


def test_evt_reads_a_quantile_inside_the_sample_from_it() -> None:
    fitted = EvtRule(q=0.5, tail=0.1).fit(normal_scores(np.arange(101.0)))
    assert fitted["value"] == 50.0


def test_description_states_unit_and_false_alarms_and_is_json() -> None:
    normal = normal_scores(np.arange(200.0), footage=1800.0)
    fitted = PercentileRule(q=0.05).fit(normal)
    assert fitted["unit"] == "probability that a normal track reaches the threshold"
    assert fitted["tracks_per_hour"] == 400.0
    assert fitted["expected_false_alarms_per_hour"] == pytest.approx(20.0)
    for rule in (PercentileRule(q=0.05), EvtRule(), FixedRule(value=1.0), AdaptiveRule()):
        assert json.loads(json.dumps(rule.fit(normal))) == rule.fit(normal)


def test_percentile_lets_the_asked_share_of_tracks_through() -> None:
    normal = normal_scores(np.arange(200.0))
    fitted = PercentileRule(q=0.05).fit(normal)
    realised = realised_rate(fitted, normal)
    assert (realised.alarms, realised.rate) == (10, 0.05)


def test_realised_rate_counts_tracks_observations_and_hours() -> None:
    normal = normal_scores(np.array([3.0, 10.0, 4.0, 10.5]), length=2, footage=7200.0)
    realised = realised_rate(FixedRule(value=9.5).fit(normal), normal)
    # Track maxima 10 and 10.5 reach 9.5; of the 8 observations 10, 10.5 and 10.5 - 1.
    assert (realised.tracks, realised.alarms, realised.rate) == (4, 2, 0.5)
    assert realised.observation_rate == 3 / 8
    assert realised.alarms_per_hour == 1.0
    exact = stats.beta.ppf([0.025, 0.975], [2, 3], [3, 2])
    assert (realised.low, realised.high) == pytest.approx(tuple(exact))


def test_a_score_at_the_threshold_alarms() -> None:
    normal = normal_scores(np.array([1.0, 2.0]), length=1)
    assert realised_rate({"rule": "fixed", "value": 2.0}, normal).alarms == 1


def test_adaptive_realises_q_on_a_scene_that_drifts() -> None:
    rng = np.random.default_rng(1)
    fitted = AdaptiveRule(q=1e-2, time_constant=60.0).fit(normal_scores(rng.gumbel(size=2000)))
    drifting = normal_scores(rng.gumbel(size=2000))
    drifting = NormalScores(
        scores=drifting.scores + np.linspace(0.0, 10.0, len(drifting.scores)),
        clips=drifting.clips,
        tracks=drifting.tracks,
        times=drifting.times,
        footage=drifting.footage,
    )
    assert 0.5e-2 <= realised_rate(fitted, drifting).rate <= 2e-2
    constant = {"rule": "fixed", "value": fitted["value"]}
    assert realised_rate(constant, drifting).rate > 0.2


def test_adaptive_threshold_depends_on_earlier_images_only() -> None:
    threshold = AdaptiveThreshold(factor=2.0, mean=1.0, spread=0.5, time_constant=10.0)
    assert threshold.update([100.0], 0.0) == 2.0
    assert threshold.update([1.5, np.nan], 10.0) == 2.0  # the first image has no duration
    weight = 1 - np.exp(-1.0)
    mean = 1.0 + weight * 0.5
    square = 1.25 + weight * (2.25 - 1.25)
    expected = mean + 2.0 * np.sqrt(square - mean**2)
    assert threshold.update([], 20.0) == pytest.approx(expected)
    threshold.reset()
    assert threshold.update([1.0], 30.0) == 2.0


def test_adaptive_threshold_clips_what_an_anomaly_adds() -> None:
    threshold = AdaptiveThreshold(factor=0.0, mean=0.0, spread=1.0, time_constant=1e-3)
    threshold.update([0.0], 0.0)
    threshold.update([1e6], 1.0)
    assert threshold.update([0.0], 2.0) == pytest.approx(AdaptiveThreshold.CLIP)


def test_adaptive_threshold_keeps_a_floor_of_spread_in_a_still_scene() -> None:
    threshold = AdaptiveThreshold(factor=1.0, mean=0.0, spread=1.0, time_constant=1.0)
    for second in range(100):
        value = threshold.update([0.0], float(second))
    assert value == pytest.approx(AdaptiveThreshold.FLOOR)


def test_online_threshold_restores_what_a_rule_found() -> None:
    normal = normal_scores(np.random.default_rng(0).gumbel(size=300))
    fitted = json.loads(json.dumps(AdaptiveRule().fit(normal)))
    assert online_threshold(fitted).update([], 0.0) == pytest.approx(fitted["value"])
    assert online_threshold({"rule": "fixed", "value": 3}).update([9.0], 0.0) == 3.0
    with pytest.raises(ThresholdError, match="no key 'factor'"):
        online_threshold({"rule": "adaptive", "value": 3})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (EvtRule(), "got 5 tracks, expected at least 20"),
        (AdaptiveRule(), "got 5 tracks, expected at least 20"),
        (PercentileRule(q=0.01), "got 5 tracks, expected at least 100"),
    ],
)
def test_few_tracks_are_refused(rule: EvtRule, message: str) -> None:
    with pytest.raises(ThresholdError, match=message):
        rule.fit(normal_scores(np.arange(5.0)))


def test_equal_scores_are_refused() -> None:
    equal = normal_scores(np.ones(100), length=1)
    with pytest.raises(ThresholdError, match="got 0 maxima above the tail's start 1"):
        EvtRule().fit(equal)
    with pytest.raises(ThresholdError, match="all scores are 1"):
        AdaptiveRule().fit(equal)


def test_unscored_rows_are_refused() -> None:
    with pytest.raises(ThresholdError, match="got 1 of 3 scores that are not finite"):
        normal_scores(np.array([1.0, np.nan, 2.0]), length=1)


def test_disordered_rows_are_refused() -> None:
    for clips, times in ((["a", "b", "a"], [0, 0, 1]), (["a", "a", "a"], [0, 2, 1])):
        with pytest.raises(ThresholdError, match="sort them by clip, then by time"):
            NormalScores(
                scores=np.zeros(3),
                clips=np.array(clips),
                tracks=np.array(["1"] * 3),
                times=np.array(times, float),
                footage=1.0,
            )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pot", {}, "expected one of evt, percentile, fixed, adaptive"),
        ("fixed", {}, "value"),
        ("evt", {"q": 0.0}, "got q=0.0"),
        ("evt", {"family": "gumbel"}, "expected gpd or weibull"),
        ("fixed", {"value": float("nan")}, "not finite"),
        ("adaptive", {"time_constant": 0.0}, "expected above 0 s"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ThresholdError, match=message):
        make_rule(name, **settings).fit(normal_scores(np.arange(100.0)))
