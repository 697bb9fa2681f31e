from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tao_anomaly.config import CalibrationConfig, ScorerConfig, WindowConfig
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.fitting import calibrate, describe, normal_scores, windows_of
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import BoolArray, FloatArray, TrackFeatures, TrackWindows

MakeFeatures = Callable[..., TrackFeatures]
Clip = list[TrackFeatures]
WINDOWS = WindowConfig(length=4, hop=1, min_observations=1)
UNSMOOTHED = ScorerConfig(smoothing=0.0)


class NewestValue:
    """A window model whose only term is the first feature of the newest step."""

    term_names = ("value",)
    network_terms = ()

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        return windows.features[:, -1, :1]

    def speeds(self, windows: TrackWindows) -> FloatArray:
        return windows.features[:, -1, 1]


def clip(make_features: MakeFeatures, *tracks: list[float]) -> Clip:
    """One clip of 10 Hz in which track i has the values of list i."""
    return [
        make_features(step / 10, {f"0-{i}": [v, 0, 0] for i, v in enumerate(values)})
        for step, values in enumerate(zip(*tracks, strict=True))
    ]


def random_clip(make_features: MakeFeatures, seed: int, tracks: int = 20) -> Clip:
    values = np.random.default_rng(seed).normal(5, 2, (tracks, 30))
    return clip(make_features, *values.tolist())


def calibrated(
    calibration_clips: dict[str, Clip], check_clips: dict[str, Clip], **settings: object
) -> Calibration:
    return calibrate(
        NewestValue(),
        weights=(1.0,),
        calibration_clips=calibration_clips,
        check_clips=check_clips,
        feature_id="synthetic",
        windows=WINDOWS,
        scorer=UNSMOOTHED,
        config=CalibrationConfig(**settings),
    )


def test_terms_are_scaled_on_the_calibration_clips_alone(make_features: MakeFeatures) -> None:
    first, second = clip(make_features, [1.0, 3.0]), clip(make_features, [5.0, 7.0])
    other = clip(make_features, [1000.0, 2000.0])
    made = calibrated({"b": first, "a": second}, {"c": other}, rule="fixed", value=2.5)
    # The tail of 1, 3, 5 and 7 begins at 6.4; 7 is 0.6 beyond.
    assert made.scale == (pytest.approx(0.6),)
    assert made.location == (pytest.approx(7 - 0.6 * np.log(10)),)
    assert made.threshold["value"] == 2.5
    assert made.evidence["windows"] == 4
    assert made.evidence["calibration_clips"] == ["a", "b"]
    assert made.evidence["check_clips"] == ["c"]
    assert made.evidence["smoothing"] == 0.0
    assert made.evidence["highest"]["calibration"] == [2.3026, -1.0]  # of two tracks
    assert made.evidence["usual_speed"] == 0.0
    assert np.isnan(made.usual_speed)  # of things that stand still nothing is a multiple


def test_the_threshold_is_checked_on_other_clips(make_features: MakeFeatures) -> None:
    """Standardised with scale 0.2, so that 5 is ln(10): tracks reach -1, 7.3 and 10."""
    fitted = clip(make_features, [3.0, 5.0])
    check = clip(make_features, [4.0, 4.0, 1.0], [4.0, 6.0, 4.0], [9.0, 9.0, 9.0])
    made = calibrated({"a": fitted}, {"b": check}, rule="fixed", value=2.0)
    found = made.evidence["check"]
    assert (found["tracks"], found["alarms"]) == (3, 2)
    assert found["rate"] == pytest.approx(2 / 3)
    assert found["observation_rate"] == pytest.approx(4 / 9)
    assert found["alarms_per_hour"] == pytest.approx(2 * 3600 / 0.2)
    told = describe(made)
    assert told.startswith("threshold 2.000 by rule fixed, realised 0.667 (2 of 3 normal tracks")


def test_the_rule_realises_about_what_was_asked(make_features: MakeFeatures) -> None:
    fitted = {str(seed): random_clip(make_features, seed) for seed in range(10)}
    check = {str(seed): random_clip(make_features, seed) for seed in range(10, 20)}
    for rule in ("evt", "percentile"):
        made = calibrated(fitted, check, rule=rule, q=0.05)
        assert made.threshold["rule"] == rule
        assert made.threshold["tracks"] == 200
        assert 0.01 <= made.evidence["check"]["rate"] <= 0.12
        assert "asked 0.05 a track" in describe(made)


def test_too_few_tracks_for_a_tail_give_the_highest_normal_score(
    make_features: MakeFeatures, caplog: pytest.LogCaptureFixture
) -> None:
    made = calibrated({"a": clip(make_features, [1.0, 3.0, 2.0])}, {"b": []}, rule="evt")
    assert made.threshold["rule"] == "fixed"
    highest = np.log(10)  # the tail begins at 2.8, and its mean excess is that of 3
    assert made.threshold["value"] == pytest.approx(highest)
    assert made.threshold["value"] > np.float32(highest)  # the highest normal score is normal
    assert "tracks" in made.threshold["why"]
    assert "highest score of normal footage" in caplog.text
    assert made.evidence["check"] is None
    assert describe(made).endswith("not checked: no object in the check clips")


@pytest.mark.parametrize("clips", [{}, {"a": []}])
def test_nothing_to_calibrate_on_is_refused(clips: dict[str, Clip]) -> None:
    with pytest.raises(ValueError, match="got 0 scored windows of normal footage"):
        calibrated(clips, {})


def test_images_without_objects_are_refused(make_features: MakeFeatures) -> None:
    empty = [make_features(step / 10, {}) for step in range(5)]
    with pytest.raises(ValueError, match="got 0 scored windows"):
        calibrated({"a": empty}, {})


def test_clips_are_scored_apart(make_features: MakeFeatures) -> None:
    """The same id in two clips is two tracks, and neither smooths the other."""
    clips = {"b": clip(make_features, [8.0, 8.0]), "a": clip(make_features, [2.0, 2.0])}
    scorer = Scorer(
        model=NewestValue(),
        calibration=Calibration(
            ("value",), (0,), (1,), (1,), 10.0, {"rule": "fixed", "value": 9.0}
        ),
        feature_id="synthetic",
        config=ScorerConfig(smoothing=5.0),
    )
    normal = normal_scores(scorer, clips, WINDOWS)
    assert normal.scores.tolist() == [2, 2, 8, 8]
    assert normal.clips.tolist() == ["a", "a", "b", "b"]
    assert normal.track_count == 2
    assert normal.footage == pytest.approx(0.2)
    assert normal.times.tolist() == [0, 0.1, 0, 0.1]


def test_windows_of_a_clip_begin_anew(make_features: MakeFeatures) -> None:
    images = clip(make_features, [1.0, 2.0, 3.0])
    for _ in range(2):
        cuts = list(windows_of(images, WINDOWS))
        assert [cut.observations.tolist() for cut in cuts] == [[1], [2], [3]]
