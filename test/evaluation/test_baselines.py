from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.config import CalibrationConfig, PipelineConfig
from tao_anomaly.datasets.registry import load_dataset
from tao_anomaly.evaluation import baselines
from tao_anomaly.evaluation.baselines import (
    BoxSpeed,
    ClassRule,
    DetectorOracle,
    Part,
    RandomScores,
    StoredClips,
    TrackedOracle,
    fit_baseline,
)
from tao_anomaly.evaluation.features import ClipFeatures, EvaluationStore
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.structures import TrackFeatures

TRAIN = [f"tiny/normal{i}" for i in range(6)]


@pytest.fixture
def store(bench) -> EvaluationStore:
    return EvaluationStore(bench.store, dataset="tiny", config=PipelineConfig())


@pytest.fixture
def ride(bench, store: EvaluationStore) -> ClipFeatures:
    return store.read(load_dataset("custom", bench.root).clip("ride"))


def test_class_rule_knows_persons_by_name(ride: ClipFeatures) -> None:
    scores = ClassRule().score(ride).detections.scores
    np.testing.assert_allclose(scores, [0.9, 0.0] * 10, rtol=1e-6)
    renamed = replace(ride, class_names={0: "rider", 1: "person"})
    np.testing.assert_allclose(
        ClassRule().score(renamed).detections.scores, [0.0, 0.8] * 10, rtol=1e-6
    )


def test_box_speed_is_in_box_heights_a_second(ride: ClipFeatures, store: EvaluationStore) -> None:
    scores = BoxSpeed(store.features.layout).score(ride).detections.scores
    # Image heights of 40 px: the bicycle is 10 px high and moves 2 of them, the person 20 and 0.1.
    np.testing.assert_allclose(scores, [2 * 40 / 10, 0.1 * 40 / 20] * 10, rtol=1e-5)


def test_random_scores_depend_on_seed_and_clip_alone(ride: ClipFeatures) -> None:
    scores = RandomScores(3).score(ride).detections.scores
    assert scores.tolist() == RandomScores(3).score(ride).detections.scores.tolist()
    assert scores.tolist() != RandomScores(4).score(ride).detections.scores.tolist()
    other = RandomScores(3).score(replace(ride, name="other")).detections.scores
    assert scores.tolist() != other.tolist()
    assert ((scores >= 0) & (scores < 1)).all()


def test_oracles_keep_what_finds_a_region(ride: ClipFeatures) -> None:
    tracked = TrackedOracle().score(ride).detections
    assert tracked.frames.tolist() == [4, 5, 6, 7]
    assert tracked.boxes.tolist() == [[10, 5, 19, 14]] * 4
    assert DetectorOracle().score(ride).detections.frames.tolist() == [4]
    for regions in (None, RegionTracks.empty()):
        assert len(TrackedOracle().score(replace(ride, regions=regions)).detections) == 0


def test_an_oracle_needs_the_overlap_that_rbdc_asks_for(ride: ClipFeatures) -> None:
    # A region of 10x1 pixels in the box of 100: IoU 0.1; of 9 pixels: less.
    for width, found in ((9, 1), (8, 0)):
        region = np.array([[10, 5, 10 + width, 5]], np.float64)
        regions = RegionTracks(np.zeros(1, np.int64), np.array([4]), region)
        boxes = DetectorOracle().score(replace(ride, regions=regions)).detections
        assert len(boxes) == found


class NotingClips(StoredClips):
    """Notes which clips are read."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store)
        object.__setattr__(self, "read", set())

    def __getitem__(self, name: str) -> list[TrackFeatures]:
        self.read.add(name)
        return list(super().__getitem__(name))


def test_only_the_train_split_is_read(store: EvaluationStore) -> None:
    clips = NotingClips(store.features)
    config = PipelineConfig()
    fitted = fit_baseline(
        Part(clips, TRAIN),
        layout=store.features.layout,
        feature_id="synthetic",
        windows=config.windows,
        scorer=config.scorer,
        calibration=CalibrationConfig(),
    )
    assert clips.read == set(TRAIN)
    split = fitted.split
    assert sorted(split.train + split.calibration + split.check) == TRAIN
    assert not set(split.train) & set(split.calibration)
    assert len(fitted.model.appearances.values) == 4 * 10 * len(split.train)


def test_fitted_on_the_beginnings_of_all_train_clips(
    store: EvaluationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stamps() -> list[list[int]]:
        clips = baselines._beginnings(StoredClips(store.features), TRAIN)
        return [[image.stamp_ns // 10**8 for image in images] for images in clips]

    assert stamps() == [list(range(10))] * 6
    monkeypatch.setattr(baselines, "_MOST_IMAGES", 20)  # of 60: 5 of each are too many
    assert stamps() == [[0, 1, 2]] * 6
    monkeypatch.setattr(baselines, "_MOST_IMAGES", 2)
    assert stamps() == [[0]] * 6


def test_tracks_of_two_clips_are_not_taken_for_one(store: EvaluationStore) -> None:
    """They have the same ids, and stand elsewhere in each clip."""
    layout = store.features.layout
    column = layout.kinematics_slice.start + KINEMATICS.index("x")
    clips: dict[str, list[TrackFeatures]] = {}
    for i, name in enumerate(TRAIN):
        clips[name] = []
        for image in store.features.read(name):
            features = image.features.copy()
            features[:, column] = 0.1 * i
            clips[name].append(replace(image, features=features))
    config = PipelineConfig()
    fitted = fit_baseline(
        clips,
        layout=layout,
        feature_id="synthetic",
        windows=config.windows,
        scorer=config.scorer,
        calibration=CalibrationConfig(),
    )
    assert fitted.model.normal_motion.jitter == pytest.approx(0, abs=1e-12)
    together = [image for name in fitted.split.train for image in clips[name]]
    assert Cues.fit([together], layout=layout).normal_motion.jitter > 1e-3
