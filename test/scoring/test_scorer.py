from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.config import ScorerConfig, WindowConfig
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import (
    AnomalyScores,
    AnomalyState,
    BoolArray,
    FloatArray,
    TrackFeatures,
    TrackWindows,
)
from tao_anomaly.windows import FeatureMismatchError, TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]
NAN = math.nan


class NewestStep:
    """A window model whose raw terms are the first two features of the newest step."""

    term_names = ("speed", "appearance")
    network_terms = ()

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        return windows.features[:, -1, :2]

    def speeds(self, windows: TrackWindows) -> FloatArray:
        return windows.features[:, -1, 2]


class Unscorable(NewestStep):
    """The same, but a negative first feature cannot be scored."""

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        raw = super().terms(windows).copy()
        raw[raw[:, 0] < 0] = NAN
        return raw


CALIBRATION = Calibration(
    term_names=("speed", "appearance"),
    location=(0.0, 1.0),
    scale=(1.0, 2.0),
    weights=(3.0, 1.0),
    cap=10.0,
    threshold={"rule": "fixed", "value": 2.0},
)


class Stream:
    """A buffer and a scorer fed at 10 Hz with two features an object."""

    def __init__(self, make_features: MakeFeatures, *, hop: int = 1, **settings: object) -> None:
        self.make_features = make_features
        self.buffer = TrackBuffer(WindowConfig(length=4, hop=hop, min_observations=2))
        config = ScorerConfig(**{"smoothing": 0.0, **settings})
        self.scorer = Scorer(
            model=Unscorable(),
            calibration=CALIBRATION,
            feature_id="synthetic",
            config=config,
            model_id="m",
        )
        self.step = 0

    def show(self, epoch: int = 0, **objects: tuple[float, float]) -> AnomalyScores:
        values = {name: [*pair, 0.0] for name, pair in objects.items()}
        image = self.make_features(self.step / 10, values, epoch=epoch)
        self.step += 1
        return self.scorer.update(self.buffer.update(image))


def test_scores_by_hand(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    stream.show(a=(0, 0), b=(0, 0))
    scores = stream.show(a=(1.0, 7.0), b=(-0.0, -1.0))
    # standardised (1, 3) and (0, -1); weights 3/4 and 1/4
    assert scores.terms.tolist() == [[1, 3], [0, -1]]
    np.testing.assert_allclose(scores.raw, [0.75 + 0.75, -0.25])
    assert scores.scores.tolist() == scores.raw.tolist()
    assert scores.frame_score == 1.5
    assert scores.term_names == ("speed", "appearance")
    assert (scores.threshold, scores.model_id, scores.stamp_ns) == (2.0, "m", 100_000_000)
    assert scores.observations.tolist() == [2, 2]
    assert scores.scores.dtype == scores.terms.dtype == np.float32


def test_the_cap_holds_one_term_back(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    stream.show(a=(0, 0))
    assert stream.show(a=(1e9, 1.0)).raw[0] == 7.5


def test_the_leading_term_is_the_one_that_adds_most(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    stream.show(a=(0, 0), b=(0, 0))
    # b: appearance stands out most (2 deviations), but speed at 1 has three times its weight
    scores = stream.show(a=(0, 7.0), b=(1.0, 5.0))
    assert scores.leading == ("appearance", "speed")


def test_who_appears_in_the_place_of_a_lost_one_goes_on_with_its_average(
    make_features: MakeFeatures,
) -> None:
    def last(**settings: object) -> float:
        stream = Stream(make_features, smoothing=1.0, **settings)
        for _ in range(3):  # all boxes are at one place
            stream.show(a=(4.0, 1.0))
        for _ in range(2):
            scores = stream.show(b=(0.0, 1.0))
        return float(scores.scores[0])

    # raw: two of 3, 0.3 and 0.2 s old, by half, then one of 0 from the second image of b on
    old = (math.exp(-0.2) + math.exp(-0.3)) / 2
    assert last() == pytest.approx(3 * old / (1 + old), rel=1e-6)
    assert last(inherit_within=0.1) == 0.0  # b's window begins 0.2 s after a was seen
    assert last(inherit_within=0.0) == 0.0


def test_an_heir_and_the_lost_one_go_on_apart(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, smoothing=1.0)
    for _ in range(3):
        stream.show(a=(4.0, 1.0))
    stream.show(b=(0.0, 1.0))
    stream.show(b=(0.0, 1.0))
    again = stream.show(a=(4.0, 1.0), b=(0.0, 1.0))
    assert again.scores[0] == 3.0
    assert again.scores[1] < 3.0


def test_a_term_without_weight_says_nothing(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    stream.scorer.recalibrate(replace(CALIBRATION, weights=(0.0, 1.0)))
    stream.show(a=(0, 0), b=(0, 0))
    cues = stream.show(a=(9.0, -1.0), b=(9.0, 21.0)).cues
    assert cues == ("nothing unusual", "appearance unlike any seen")


def test_an_object_without_a_window_is_warming_up(make_features: MakeFeatures) -> None:
    scores = Stream(make_features).show(a=(9, 9))
    assert scores.states.tolist() == [AnomalyState.WARMUP]
    assert np.isnan(scores.scores).all()
    assert np.isnan(scores.terms).all()
    assert scores.leading == ("",)
    assert np.isnan(scores.frame_score)


def test_a_score_at_the_threshold_is_anomalous(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    stream.show(a=(0, 0), b=(0, 0))
    below = np.nextafter(np.float32(8 / 3), np.float32(0))
    scores = stream.show(a=(8 / 3, 1.0), b=(float(below) - 1e-6, 1.0))
    assert scores.scores[0] == 2.0
    assert scores.states.tolist() == [AnomalyState.ANOMALOUS, AnomalyState.NORMAL]


def test_no_objects_are_an_empty_result(make_features: MakeFeatures) -> None:
    scores = Stream(make_features).show()
    assert len(scores.tracks) == 0
    assert scores.terms.shape == (0, 2)
    assert np.isnan(scores.frame_score)
    assert scores.leading == ()


def test_scores_are_smoothed_along_their_own_track(make_features: MakeFeatures) -> None:
    tau = -0.1 / math.log(0.9)
    stream = Stream(make_features, smoothing=tau)
    stream.show(a=(0, 1), b=(0, 1))
    shown = [(4.0, 0.0), (0.0, 0.0), (8.0, 0.0)]
    smoothed = [stream.show(a=(a, 1), b=(b, 1)).scores.tolist() for a, b in shown]
    m, expected = 0.0, []
    for n, (a, _) in enumerate(shown, 1):
        m = 0.9 * m + 0.1 * 0.75 * a
        expected.append([m / (1 - 0.9**n), 0.0])
    np.testing.assert_allclose(smoothed, expected, rtol=1e-6)


def test_a_track_keeps_its_score_between_its_windows(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, hop=4)
    tracks = [stream.show(**{"0-4": (float(step), 1.0)}).scores[0] for step in range(9)]
    # windows at the 2nd, 4th and 8th observation, whose speeds are 1, 3 and 7
    np.testing.assert_allclose(tracks, np.array([NAN, 1, 1, 3, 3, 3, 3, 7, 7]) * 0.75)


def test_what_cannot_be_scored_is_invalid_until_it_can(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, smoothing=1.0)
    stream.show(a=(1, 1), b=(9, 1))
    before = stream.show(a=(1, 1), b=(9, 1))
    invalid = stream.show(a=(-1, 1), b=(9, 1))
    assert invalid.states.tolist() == [AnomalyState.INVALID, AnomalyState.ANOMALOUS]
    assert np.isnan(invalid.scores[0])
    assert np.isnan(invalid.raw[0])
    assert invalid.leading == ("", "speed")
    assert invalid.frame_score == before.scores[1]
    after = stream.show(a=(1, 1), b=(9, 1))
    assert after.states[0] == AnomalyState.NORMAL
    assert after.scores[0] == pytest.approx(0.75)  # the average forgot nothing and took no NaN in


def test_the_threshold_may_be_set_and_changed(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, threshold=0.5)
    stream.show(a=(1, 1))
    scores = stream.show(a=(1, 1))
    assert (scores.threshold, scores.states[0]) == (0.5, AnomalyState.ANOMALOUS)
    stream.scorer.reconfigure(ScorerConfig(threshold=1.0, smoothing=0.0))
    scores = stream.show(a=(1, 1))
    assert (scores.threshold, scores.states[0]) == (1.0, AnomalyState.NORMAL)
    stream.scorer.reconfigure(ScorerConfig())
    assert stream.show(a=(1, 1)).threshold == 2.0  # the artifact's own again


def test_changed_smoothing_holds_for_tracks_under_way(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, smoothing=1e9)
    for _ in range(3):
        stream.show(a=(0, 1))
    stream.scorer.reconfigure(ScorerConfig(smoothing=0.0))
    assert stream.show(a=(4, 1)).scores[0] == 3.0


def test_an_adaptive_threshold_follows_the_scores(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    description = {"rule": "adaptive", "factor": 2.0, "mean": 0.0, "spread": 1.0}
    calibration = replace(CALIBRATION, threshold={**description, "time_constant": 1.0})
    stream.scorer = Scorer(
        model=NewestStep(),
        calibration=calibration,
        feature_id="synthetic",
        config=ScorerConfig(smoothing=0.0),
    )
    thresholds = [stream.show(a=(2, 1)).threshold for _ in range(120)]
    assert thresholds[0] == 2.0
    assert thresholds[-1] == pytest.approx(1.5 + 2 * 0.1, abs=0.01)  # the least spread is a tenth
    stream.scorer.reset()
    assert stream.show(a=(2, 1)).threshold == 2.0


def test_features_of_another_id_are_refused_and_change_nothing(
    make_features: MakeFeatures,
) -> None:
    stream = Stream(make_features)
    stream.show(a=(4, 1))
    stream.show(a=(4, 1))
    other = TrackBuffer(WindowConfig()).update(
        make_features(0.2, {"a": [0, 0, 0]}, feature_id="other", epoch=7)
    )
    message = "got features other, but model m was fitted on features synthetic"
    with pytest.raises(FeatureMismatchError, match=message):
        stream.scorer.update(other)
    assert stream.show(a=(4, 1)).scores[0] == 3.0


def test_terms_of_another_model_are_refused() -> None:
    renamed = replace(CALIBRATION, term_names=("speed", "colour"))
    with pytest.raises(ValueError, match="calibration of terms speed, colour, expected speed, app"):
        Scorer(model=NewestStep(), calibration=renamed, feature_id="f", config=ScorerConfig())


def test_a_new_epoch_and_a_reset_forget_all_tracks(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    for _ in range(3):
        stream.show(a=(1, 1))
    assert stream.show(epoch=1, a=(1, 1)).states[0] == AnomalyState.WARMUP
    stream.show(epoch=1, a=(1, 1))
    stream.scorer.reset()
    stream.buffer.reset()
    assert stream.show(epoch=1, a=(1, 1)).states[0] == AnomalyState.WARMUP


def test_a_track_unseen_for_long_is_forgotten(make_features: MakeFeatures) -> None:
    stream = Stream(make_features)
    for _ in range(3):
        stream.show(a=(1, 1))
    stream.step += 99
    assert stream.show(a=(1, 1)).states[0] == AnomalyState.NORMAL
    stream.step += 101
    stream.show()
    stream.step += 1
    assert stream.show(a=(1, 1)).states[0] == AnomalyState.WARMUP


def test_the_same_images_give_the_same_scores(make_features: MakeFeatures) -> None:
    random = np.random.default_rng(0)
    shown = random.normal(1, 2, (30, 2, 2))

    def scores(stream: Stream) -> list[list[float]]:
        return [stream.show(a=tuple(a), b=tuple(b)).scores.tolist() for a, b in shown]

    first, second = (scores(Stream(make_features, smoothing=1.0, hop=2)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_contributions_add_up_to_the_score_exactly(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, smoothing=0.7)
    random = np.random.default_rng(0)
    for _ in range(20):
        scores = stream.show(**{name: tuple(random.normal(1, 9, 2)) for name in "abcd"})
        # the same additions, so that not even the last bit differs; NaN where there is no score
        np.testing.assert_array_equal(scores.contributions.sum(axis=1), scores.scores)
    scored = np.isfinite(scores.scores)
    assert scored.any()
    assert scores.contributions.shape == (4, 2)


def test_contributions_are_smoothed_as_the_score_is(make_features: MakeFeatures) -> None:
    stream = Stream(make_features, smoothing=-0.1 / math.log(0.5))
    stream.show(a=(0, 1))
    stream.show(a=(4.0, 1.0))
    scores = stream.show(a=(0.0, 9.0))
    # speed adds 3 then 0, appearance 0 then 1; weights 1/3 and 2/3
    np.testing.assert_allclose(scores.contributions, [[1.0, 2 / 3]], rtol=1e-6)
    assert scores.scores[0] == pytest.approx(5 / 3)
    assert scores.leading == ("speed",)  # of the score; the newest window's is appearance


class NewestSteps(NewestStep):
    """The same without a term that is the speed."""

    term_names = ("step_motion", "appearance")


@pytest.mark.parametrize(("model", "column"), [(NewestStep(), 0), (NewestSteps(), 2)])
def test_the_cue_compares_with_the_usual_speed(
    make_features: MakeFeatures, model: NewestStep, column: int
) -> None:
    usual = replace(
        CALIBRATION,
        term_names=model.term_names,
        scale=(0.25, 2.0),
        evidence={"usual_speed": 0.5},
    )
    buffer = TrackBuffer(WindowConfig(length=3, hop=1, min_observations=2))
    scorer = Scorer(
        model=model,
        calibration=usual,
        feature_id="synthetic",
        config=ScorerConfig(smoothing=0.0),
    )
    fast, rare, new = [4.0, 1.0, 4.0], [0.0, 15.0, 0.5], [0.0, 0.0, 0.0]
    fast[column] = 1.55
    for stamp in (0.0, 0.1):
        seen = {"a": fast, "b": rare}
        scores = scorer.update(buffer.update(make_features(stamp, seen)))
    assert scores.cues == ("3.1x usual speed", "appearance unlike any seen")
    last = scorer.update(buffer.update(make_features(0.2, {"a": fast, "c": new})))
    assert last.cues[1] == ""


class CountedNetwork(NewestStep):
    """`speed` is a cue; `appearance` needs a network, which cannot see a single step."""

    network_terms = ("appearance",)

    def __init__(self) -> None:
        self.ran: list[int] = []

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        assert network is not None
        raw = super().terms(windows).copy()
        seen = network & (windows.valid.sum(axis=1) > 1)
        raw[~seen, 1] = NAN
        self.ran.append(int(seen.sum()))
        return raw


def test_a_network_runs_at_its_hop_and_its_terms_stay_in_between(
    make_features: MakeFeatures,
) -> None:
    model = CountedNetwork()
    buffer = TrackBuffer(WindowConfig(length=4, hop=1, min_observations=1))
    scorer = Scorer(
        model=model,
        calibration=CALIBRATION,
        feature_id="synthetic",
        config=ScorerConfig(smoothing=0.0, network_hop=4),
    )
    terms = []
    for step in range(14):
        image = make_features(step / 10, {"a": [step / 10, 1.0 + 2 * step, 0.0]})
        terms.append(scorer.update(buffer.update(image)).terms[0])
    cue, network = np.array(terms).T
    np.testing.assert_allclose(cue, np.arange(14) / 10, rtol=1e-6)  # new every time
    assert network[0] == 0  # one step: as usual
    assert network[1] == 1  # the first two steps
    assert sum(model.ran) == 1 + 3  # then every fourth of the windows 2 to 13
    changes = np.flatnonzero(np.diff(network[1:])) + 2
    assert np.diff(changes).tolist() == [4, 4]
    assert network[changes].tolist() == np.minimum(changes, 10).tolist()
