from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.config import WindowConfig
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import ArtifactError, load_artifact, save_artifact
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.nearest_neighbours import KIND, TERMS, NearestNeighbours
from tao_anomaly.scoring.window_model import build_window_model
from tao_anomaly.structures import FeatureLayout, TrackFeatures, TrackWindows
from tao_anomaly.windows import TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]
LAYOUT = FeatureLayout(appearance=4, kinematics=len(KINEMATICS))


def vector(
    appearance: list[float], *, speed: tuple[float, float] = (0, 0), height: float = 0.2
) -> list[float]:
    """A feature vector of an object at the middle of the image."""
    return [*appearance, 0.5, 0.5, np.log(0.1), np.log(height), *speed, 0.0]


def window(make_features: MakeFeatures, *vectors: list[float]) -> TrackWindows:
    buffer = TrackBuffer(WindowConfig(length=3, hop=1, min_observations=1))
    objects = {f"0-{i}": values for i, values in enumerate(vectors)}
    return buffer.update(make_features(0, objects, dim=LAYOUT.dim))


def by_hand(**changes: object) -> NearestNeighbours:
    settings = {
        "layout": LAYOUT,
        "scale": SceneScale(),
        "mean": np.array([1, 1, 0, 0], np.float32),
        "deviation": np.array([2, 1, 1, 1], np.float32),
        "memory": np.array([[0, 0, 0, 0], [3, 0, 0, 0]], np.float32),
    }
    return NearestNeighbours(**{**settings, **changes})


def test_appearance_is_the_distance_to_the_nearest_normal_one(make_features: MakeFeatures) -> None:
    # standardised: (0, 0, 0, 0), (2, 0, 0, 0) and (0, 0, 6, 8), each against 0 and (3, 0, 0, 0)
    cut = window(make_features, vector([1, 1, 0, 0]), vector([5, 1, 0, 0]), vector([1, 1, 6, 8]))
    terms = by_hand().terms(cut)
    # Root mean square over the four features: a feature's deviation is 1.
    np.testing.assert_allclose(terms[:, 1], np.array([0, 1, 10]) / 2, atol=1e-4)
    assert by_hand().term_names == TERMS == ("speed", "appearance")
    assert terms.dtype == np.float32


def test_speed_is_in_person_heights_a_second(make_features: MakeFeatures) -> None:
    cut = window(
        make_features,
        vector([0] * 4, speed=(0.3, 0.4), height=0.25),
        vector([0] * 4, speed=(0.3, 0.4), height=0.05),  # a low object, a skateboard
    )
    np.testing.assert_allclose(by_hand().terms(cut)[:, 0], [2.0, 10.0], rtol=1e-5)
    # On a fitted scene a person at this place is 0.25 image heights tall, whatever the box is.
    scene = SceneScale(intercept=0.25, slope=0.0, lowest=0.1, highest=0.5)
    np.testing.assert_allclose(by_hand(scale=scene).terms(cut)[:, 0], [2.0, 2.0], rtol=1e-5)


def test_the_scene_scale_is_read_at_the_feet(make_features: MakeFeatures) -> None:
    scene = SceneScale(intercept=0.0, slope=0.5, lowest=0.01, highest=1.0)
    cut = window(make_features, vector([0] * 4, speed=(0.3, 0.0), height=0.2))
    # centre at 0.5, feet at 0.6: a person there is 0.3 tall
    np.testing.assert_allclose(by_hand(scale=scene).terms(cut)[:, 0], [1.0], rtol=1e-5)


def test_only_the_newest_step_counts(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=3, hop=1))
    for step, values in enumerate(([9, 9, 9, 9], [5, 1, 0, 0])):
        image = make_features(step / 10, {"0-1": vector(values)}, dim=LAYOUT.dim)
        cut = buffer.update(image)
    np.testing.assert_allclose(by_hand().terms(cut), [[0, 0.5]], atol=1e-4)


def fitted(make_features: MakeFeatures, count: int, seed: int = 0) -> NearestNeighbours:
    random = np.random.default_rng(3)
    clips = [
        [
            make_features(
                i,
                {"a": vector(random.normal([5, 0, -2, 1], [1, 2, 3, 4]).tolist())},
                dim=LAYOUT.dim,
            )
            for i in range(count // 2)
        ]
        for _ in range(2)
    ]
    return NearestNeighbours.fit(clips, layout=LAYOUT, seed=seed)


def test_fit_standardises_and_remembers_normal_appearances(make_features: MakeFeatures) -> None:
    model = fitted(make_features, 2000)
    np.testing.assert_allclose(model.mean, [5, 0, -2, 1], atol=0.4)
    np.testing.assert_allclose(model.deviation, [1, 2, 3, 4], rtol=0.1)
    assert model.memory.shape == (2000, 4)
    np.testing.assert_allclose(model.memory.std(axis=0), 1, rtol=1e-4)
    cut = window(make_features, vector([5, 0, -2, 1]), vector([5, 0, -2, 21]))
    near, far = model.terms(cut)[:, 1]
    assert near < 0.3
    # 5 deviations from the mean; the farthest of 2000 normal ones lies 3.5 away
    assert 0.7 < far < 2.5


def test_the_memory_is_bounded_and_drawn_by_the_seed(make_features: MakeFeatures) -> None:
    model = fitted(make_features, 4400)
    assert model.memory.shape == (4000, 4)
    assert np.array_equal(model.memory, fitted(make_features, 4400).memory)
    assert not np.array_equal(model.memory, fitted(make_features, 4400, seed=1).memory)


def test_footage_without_objects_is_refused(make_features: MakeFeatures) -> None:
    with pytest.raises(ValueError, match="got no tracked object in the normal footage"):
        NearestNeighbours.fit([[make_features(0, {}, dim=LAYOUT.dim)], []], layout=LAYOUT)


def test_a_saved_model_scores_alike(make_features: MakeFeatures, tmp_path: Path) -> None:
    model = fitted(make_features, 200)
    calibration = Calibration(TERMS, (0, 0), (1, 1), (1, 1), 10.0, {"rule": "fixed", "value": 3})
    save_artifact(
        tmp_path / "model",
        kind=KIND,
        feature_id="synthetic",
        layout=LAYOUT,
        config=model.config(),
        tensors=model.tensors(),
        calibration=calibration,
    )
    artifact = load_artifact(tmp_path / "model")
    loaded = build_window_model(artifact)
    cut = window(make_features, vector([1, 2, 3, 4], speed=(0.1, 0.2)), vector([0] * 4))
    assert np.array_equal(loaded.terms(cut), model.terms(cut))


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({}, {}, "key 'scene_scale' is wrong"),
        ({"scene_scale": {"tilt": 1.0}}, {}, "key 'scene_scale' is wrong"),
        (None, {"mean": np.zeros(3, np.float32)}, "key 'mean' has shape"),
        (None, {"memory": None}, "key 'memory' is missing"),
        (None, {"deviation": np.full(4, np.nan, np.float32)}, "key 'deviation' has values"),
    ],
)
def test_a_model_that_does_not_fit_names_the_key(
    make_features: MakeFeatures,
    tmp_path: Path,
    config: dict[str, object] | None,
    tensors: dict[str, np.ndarray | None],
    message: str,
) -> None:
    model = fitted(make_features, 20)
    changed = {k: v for k, v in {**model.tensors(), **tensors}.items() if v is not None}
    save_artifact(
        tmp_path / "model",
        kind=KIND,
        feature_id="synthetic",
        layout=LAYOUT,
        config=model.config() if config is None else config,
        tensors=changed,
        calibration=Calibration(TERMS, (0, 0), (1, 1), (1, 1), 10.0, {"rule": "fixed", "value": 3}),
    )
    with pytest.raises(ArtifactError, match=message):
        build_window_model(load_artifact(tmp_path / "model"))
