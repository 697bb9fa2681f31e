from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.config import WindowConfig
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import ArtifactError, load_artifact, save_artifact
from tao_anomaly.model.config import ScoringConfig
from tao_anomaly.scoring.belief import NormalMotion
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.cues import CUES, KIND, Cues
from tao_anomaly.scoring.local_velocity import LocalVelocities
from tao_anomaly.scoring.nearest import Memory
from tao_anomaly.scoring.window_model import JoinedModel, build_window_model
from tao_anomaly.structures import MOVING_OBJECT, FeatureLayout, TrackFeatures, TrackWindows
from tao_anomaly.windows import TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]
KNOWN = np.zeros(2, np.bool_)
LAYOUT = FeatureLayout(appearance=4, kinematics=len(KINEMATICS), classes=3)
NAMES = tuple(CUES)
STEP = 0.25  # seconds


def vector(
    appearance: list[float],
    *,
    speed: tuple[float, float] = (0, 0),
    height: float = 0.2,
    flow: tuple[float, ...] = (0,) * DIRECTIONS,
    classes: tuple[float, float, float] = (0.5, 0, 0),
) -> list[float]:
    """A feature vector of an object at the middle of the image."""
    return [*appearance, 0.5, 0.5, np.log(0.1), np.log(height), *speed, 0.0, *flow, *classes]


def window(make_features: MakeFeatures, *vectors: list[float], steps: int = 5) -> TrackWindows:
    """The windows of objects that keep their features for `steps` images."""
    buffer = TrackBuffer(WindowConfig(length=8, hop=1, min_observations=1))
    objects = {f"0-{i}": values for i, values in enumerate(vectors)}
    for step in range(steps):
        cut = buffer.update(make_features(step * STEP, objects, dim=LAYOUT.dim))
    return cut


def by_hand(*names: str, **changes: object) -> Cues:
    settings = {
        "layout": LAYOUT,
        "scale": SceneScale(),
        "appearances": Memory(np.array([[1, 0, 0, 0], [0, 0.6, 0.8, 0]], np.float32), KNOWN),
        "flows": Memory(np.eye(2, DIRECTIONS, dtype=np.float32), KNOWN),
        "class_levels": np.array([0.8, 0.1, 0.05], np.float32),
        "local": LocalVelocities.none(),
        "term_names": names,
    }
    return Cues(**{**settings, **changes})


def test_appearance_is_the_distance_of_directions(make_features: MakeFeatures) -> None:
    cut = window(make_features, vector([7, 0, 0, 0]), vector([0, 3, 4, 0]), vector([0, 0, 0, 2]))
    # at length 1: the first and the second are in memory, the third is at right angles to both
    terms = by_hand("appearance").terms(cut)
    np.testing.assert_allclose(terms[:, 0], [0, 0, np.sqrt(2)], atol=1e-3)
    assert terms.dtype == np.float32


def test_speed_is_in_person_heights_a_second(make_features: MakeFeatures) -> None:
    cut = window(
        make_features,
        vector([1] * 4, speed=(0.3, 0.4), height=0.25),
        vector([1] * 4, speed=(0.3, 0.4), height=0.05),  # a low object, a skateboard
    )
    speeds = by_hand("speed").terms(cut)[:, 0]
    np.testing.assert_allclose(speeds, [2.0, 10.0], rtol=1e-5)
    # On a fitted scene a person at this place is 0.25 image heights tall, whatever the box is.
    scene = SceneScale(intercept=0.25, slope=0.0, lowest=0.1, highest=0.5)
    speeds = by_hand("speed", scale=scene).terms(cut)[:, 0]
    np.testing.assert_allclose(speeds, [2.0] * 2, rtol=1e-5)


def test_a_speed_that_is_not_told_counts_less(make_features: MakeFeatures) -> None:
    moving = vector([1] * 4, speed=(0.2, 0.0))  # a person height a second
    single, pair, many = (window(make_features, moving, steps=steps) for steps in (1, 2, 5))
    cues = by_hand("speed", normal_motion=NormalMotion(jitter=0.01))
    assert cues.speeds(single)[0] == 0
    # Two steps scatter by 2 * 0.125^2 = 0.03125 s^2; five by 0.25^2 * (4 + 1 + 0 + 1 + 4) = 0.625,
    # and that they lie on one line leaves 2 of 2 + 3 parts of the usual jitter.
    np.testing.assert_allclose(cues.speeds(pair), [1 / (1 + 9 * 0.01 / 0.03125)], rtol=1e-4)
    np.testing.assert_allclose(cues.speeds(many), [1 / (1 + 9 * 0.004 / 0.625)], rtol=1e-4)


def test_a_speed_that_no_flow_goes_along_with_counts_less(make_features: MakeFeatures) -> None:
    """A box slides along x at a person height a second; what is in it moves at 0.1 of them."""
    along, across = ((0.02, *(0,) * 7), (0, 0, 0.02, *(0,) * 5))
    cut = window(
        make_features, *(vector([1] * 4, speed=(0.2, 0.0), flow=flow) for flow in (along, across))
    )
    cues = by_hand("speed", normal_motion=NormalMotion(support=0.2))
    np.testing.assert_allclose(cues.speeds(cut), [0.5, 0.0], atol=1e-5)


def test_flow_is_compared_in_person_heights(make_features: MakeFeatures) -> None:
    flow = (0.2, *(0,) * (DIRECTIONS - 1))
    cut = window(make_features, vector([1] * 4, height=0.2, flow=flow))
    # (1, 0, ...): distances 0 and sqrt(2) to the two in memory, which are all there are
    np.testing.assert_allclose(by_hand("flow").terms(cut), [[np.sqrt(2) / 2]], atol=1e-3)


def test_a_class_scores_by_what_is_beyond_its_level(make_features: MakeFeatures) -> None:
    cut = window(
        make_features,
        vector([1] * 4, classes=(0.7, 0.1, 0)),  # below all levels
        vector([1] * 4, classes=(0.9, 0, 0)),  # a very sure person
        vector([1] * 4, classes=(0.6, 0.4, 0.1)),  # a person with parts of a bicycle and a board
    )
    scores = by_hand("class").terms(cut)[:, 0]
    expected = [0, np.log(0.9 / 0.8), np.log(0.4 / 0.1) + np.log(0.1 / 0.05)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-7)


def test_levels_are_those_that_hardly_any_normal_object_exceeds(
    make_features: MakeFeatures,
) -> None:
    # 101 objects: the 99 % quantile is the 100th of them, and at least what tells something
    persons, bicycles = np.linspace(0.5, 0.9, 101), np.linspace(0, 0.02, 101)
    objects = [
        vector([1] * 4, classes=(person, bicycle, 0))
        for person, bicycle in zip(persons, bicycles, strict=True)
    ]
    clip = [make_features(i, {"a": each}, dim=LAYOUT.dim) for i, each in enumerate(objects)]
    levels = Cues.fit([clip], layout=LAYOUT).class_levels
    np.testing.assert_allclose(levels, [persons[99], 0.05, 0.05], rtol=1e-6)


def test_only_the_newest_step_counts_for_looks(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=3, hop=1))
    for step, values in enumerate(([0, 0, 0, 9], [5, 0, 0, 0])):
        image = make_features(step / 10, {"0-1": vector(values)}, dim=LAYOUT.dim)
        cut = buffer.update(image)
    np.testing.assert_allclose(by_hand("appearance").terms(cut), [[0]], atol=1e-3)


def test_no_window_gives_no_term(make_features: MakeFeatures) -> None:
    cut = window(make_features)
    assert by_hand(*NAMES).terms(cut).shape == (0, len(NAMES))


def fitted(make_features: MakeFeatures, count: int, seed: int = 0) -> Cues:
    random = np.random.default_rng(3)

    def some() -> list[float]:
        appearance, flow = random.normal([5, 0, -2, 1], [1, 2, 3, 4]), random.random(DIRECTIONS)
        return vector(appearance.tolist(), flow=tuple(flow))

    clips = [
        [make_features(i, {"a": some()}, dim=LAYOUT.dim) for i in range(count // 2)]
        for _ in range(2)
    ]
    return Cues.fit(clips, layout=LAYOUT, seed=seed)


def test_fit_remembers_normal_observations(make_features: MakeFeatures) -> None:
    cues = fitted(make_features, 2000)
    assert cues.appearances.values.shape == (2000, 4)
    assert cues.flows.values.shape == (2000, DIRECTIONS)
    np.testing.assert_allclose(np.linalg.norm(cues.appearances.values, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(cues.class_levels, [0.5, 0.05, 0.05])
    assert cues.term_names == NAMES
    assert NAMES == ("speed", "appearance", "flow", "class", "local_velocity", "stay")
    usual = vector([5, 0, -2, 1], flow=(0.5,) * DIRECTIONS)
    odd = vector([-5, 0, 2, -1], flow=(5,) * DIRECTIONS)
    near, far = cues.terms(window(make_features, usual, odd))
    assert near[1] < 0.1 < 0.5 < far[1]
    assert near[2] < 2 < 20 < far[2]  # in person heights, which are 0.2 of the image's


def test_what_merely_moves_is_remembered_apart_and_has_no_class(
    make_features: MakeFeatures,
) -> None:
    images = []
    for stamp in range(60):
        seen = make_features(
            stamp, {"a": vector([1, 0, 0, 0]), "b": vector([0, 1, 0, 0])}, dim=LAYOUT.dim
        )
        class_ids = np.array([0, MOVING_OBJECT])
        images.append(replace(seen, tracks=replace(seen.tracks, class_ids=class_ids)))
    cues = Cues.fit([images], layout=LAYOUT)
    assert cues.appearances.moving.tolist() == [False, True] * 60
    odd = vector([0, 1, 0, 0], classes=(0, 0.5, 0))
    cut = window(make_features, odd, odd)
    moving = replace(cut, tracks=replace(cut.tracks, class_ids=np.array([0, MOVING_OBJECT])))
    assert moving.moving.tolist() == [False, True]
    kind = cues.terms(moving)[:, NAMES.index("class")]
    np.testing.assert_allclose(kind, [np.log(10), 0], rtol=1e-5)
    appearance = cues.terms(moving)[:, NAMES.index("appearance")]
    np.testing.assert_allclose(appearance, [np.sqrt(2), 0], atol=1e-3)


def test_the_memory_is_bounded_and_drawn_by_the_seed(make_features: MakeFeatures) -> None:
    cues = fitted(make_features, 4400)
    assert cues.appearances.values.shape == (4000, 4)
    seen = cues.appearances.values
    assert np.array_equal(seen, fitted(make_features, 4400).appearances.values)
    assert not np.array_equal(seen, fitted(make_features, 4400, seed=1).appearances.values)


def test_footage_without_objects_and_unknown_cues_are_refused(make_features: MakeFeatures) -> None:
    nothing = [[make_features(0, {}, dim=LAYOUT.dim)], []]
    with pytest.raises(ValueError, match="got no tracked object in the normal footage"):
        Cues.fit(nothing, layout=LAYOUT)
    some = [[make_features(0, {"0-1": vector([1] * 4)}, dim=LAYOUT.dim)]]
    with pytest.raises(ValueError, match="got smell, expected some of speed, appearance"):
        Cues.fit(some, layout=LAYOUT, terms=("speed", "smell"))


def test_joined_models_keep_their_terms_apart(make_features: MakeFeatures) -> None:
    cut = window(make_features, vector([0, 0, 0, 2], speed=(0.2, 0)), vector([7, 0, 0, 0]))
    speed, looks = by_hand("speed"), by_hand("appearance", "class")
    joined = JoinedModel(speed, looks)
    assert joined.term_names == ("speed", "appearance", "class")
    assert np.array_equal(joined.terms(cut), np.hstack([speed.terms(cut), looks.terms(cut)]))
    assert np.array_equal(joined.speeds(cut), speed.speeds(cut))


def save(cues: Cues, folder: Path, config: dict[str, object], tensors: dict[str, object]) -> None:
    count = len(cues.term_names)
    save_artifact(
        folder,
        kind=KIND,
        feature_id="synthetic",
        layout=LAYOUT,
        config=config,
        tensors=tensors,
        calibration=Calibration(
            cues.term_names,
            (0,) * count,
            (1,) * count,
            cues.weights,
            10.0,
            {"rule": "fixed", "value": 3},
        ),
    )


def test_a_saved_model_scores_alike(make_features: MakeFeatures, tmp_path: Path) -> None:
    cues = fitted(make_features, 200)
    save(cues, tmp_path / "model", cues.config(), cues.tensors())
    loaded = build_window_model(load_artifact(tmp_path / "model"))
    cut = window(make_features, vector([1, 2, 3, 4], speed=(0.1, 0.2)), vector([1] * 4))
    assert np.array_equal(loaded.terms(cut), cues.terms(cut))


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({"cues": []}, {}, "key 'scene_scale' or 'cues': 'scene_scale'"),
        ({"scene_scale": {"tilt": 1.0}}, {}, "key 'scene_scale' or 'cues'"),
        ({"scene_scale": {}, "cues": ["smell"]}, {}, "got smell, expected some of speed"),
        (None, {"cues.flows": np.zeros(3, np.float32)}, "key 'cues.flows' has shape"),
        (None, {"cues.class_levels": None}, "key 'cues.class_levels' is missing"),
        (None, {"cues.class_levels": np.ones(2)}, "key 'cues.class_levels' has shape"),
        (None, {"cues.class_levels": np.zeros(3)}, "'cues.class_levels' has values of 0 or below"),
        (None, {"cues.places": None}, "key 'cues.places' is missing"),
        (None, {"cues.velocities": np.zeros((7, 2))}, "key 'cues.velocities' has shape"),
        (None, {"cues.jitter": None}, "key 'cues.jitter' is missing"),
        (None, {"cues.jitter": -np.ones(1)}, "key 'cues.jitter' is -1.0, expected at least 0"),
        (None, {"cues.support": None}, "key 'cues.support' is missing"),
        (None, {"cues.long_stay": None}, "key 'cues.long_stay' is missing"),
        (None, {"cues.long_stay": np.zeros(1)}, "key 'cues.long_stay' is 0.0, expected seconds"),
        (None, {"cues.appearances": np.full((1, 4), np.nan)}, "key 'cues.appearances' has values"),
    ],
)
def test_a_model_that_does_not_fit_names_the_key(
    make_features: MakeFeatures,
    tmp_path: Path,
    config: dict[str, object] | None,
    tensors: dict[str, np.ndarray | None],
    message: str,
) -> None:
    cues = fitted(make_features, 20)
    changed = {k: v for k, v in {**cues.tensors(), **tensors}.items() if v is not None}
    save(cues, tmp_path / "model", cues.config() if config is None else config, changed)
    with pytest.raises(ArtifactError, match=message):
        build_window_model(load_artifact(tmp_path / "model"))


def test_a_model_older_than_local_velocity_and_stay_loads(
    make_features: MakeFeatures, tmp_path: Path
) -> None:
    cues = replace(fitted(make_features, 20), term_names=("speed", "flow"))
    younger = ("cues.places", "cues.velocities", "cues.long_stay")
    tensors = {key: value for key, value in cues.tensors().items() if key not in younger}
    save(cues, tmp_path / "model", cues.config(), tensors)
    loaded = build_window_model(load_artifact(tmp_path / "model"))
    cut = window(make_features, vector([1, 2, 3, 4], speed=(0.1, 0.2)))
    assert np.array_equal(loaded.terms(cut), cues.terms(cut))


def test_the_cues_beside_a_network_are_those_without_one() -> None:
    defaults = ScoringConfig()
    assert defaults.cues == NAMES
    assert defaults.cue_weights == by_hand(*NAMES).weights == (1, 1, 1, 1, 0.5, 1)


def test_normal_motion_is_fitted_on_windows_of_the_length_to_be_scored(
    make_features: MakeFeatures,
) -> None:
    clip = []
    for i, place in enumerate(np.random.default_rng(5).random((200, 2)).tolist()):
        jumps = [1, 1, 1, 1, *place, *vector([1] * 4)[6:]]
        clip.append(make_features(i / 10, {"a": jumps}, dim=LAYOUT.dim))
    short, usual, same = (
        Cues.fit([clip], layout=LAYOUT, windows=windows).normal_motion
        for windows in (WindowConfig(length=4), None, WindowConfig())
    )
    assert usual == same
    assert short.jitter != pytest.approx(usual.jitter, rel=1e-3)
