from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.config import WindowConfig
from tao_anomaly.evaluation.evidence import StepModel
from tao_anomaly.model.window_model import MIN_STEPS, TemporalMaeModel
from tao_anomaly.scoring.fitting import windows_of
from tao_anomaly.scoring.split import Split
from tao_anomaly.structures import TrackWindows
from training.evaluation import MAE
from training.fit import FitResult, Footage, training_data


@pytest.fixture(scope="module")
def unseen(footage: Footage, split: Split) -> TrackWindows:
    """The windows of one image late in a clip that was not trained on."""
    cut = list(windows_of(footage.clips[split.check[0]], WindowConfig(hop=1)))
    assert cut[30].valid.all()
    return cut[30]


def is_steps(model: object) -> bool:
    return isinstance(model, StepModel)


def corrupted(windows: TrackWindows, step: int) -> TrackWindows:
    """One step looks like, and is, somebody else in another place."""
    features = windows.features.copy()
    features[:, step] = features[::-1, step] + np.float32(0.3)
    return replace(windows, features=features)


def test_terms_of_a_broken_window_are_higher_than_of_the_real_one(
    trained: FitResult, unseen: TrackWindows
) -> None:
    real, broken = trained.model.terms(unseen), trained.model.terms(corrupted(unseen, 8))
    step_appearance = trained.model.term_names.index("step_appearance")
    assert (broken[:, step_appearance] > real[:, step_appearance] + 3).all()


def test_scoring_is_deterministic_and_independent_of_the_other_windows(
    trained: FitResult, unseen: TrackWindows
) -> None:
    terms = trained.model.terms(unseen)
    np.testing.assert_array_equal(trained.model.terms(unseen), terms)
    one = replace(
        unseen,
        index=unseen.index[1:2],
        features=unseen.features[1:2],
        times=unseen.times[1:2],
        valid=unseen.valid[1:2],
    )
    np.testing.assert_allclose(trained.model.terms(one), terms[1:2], rtol=1e-4, atol=1e-5)


def test_a_window_of_one_step_is_not_scored_and_does_not_disturb_the_others(
    trained: FitResult, unseen: TrackWindows
) -> None:
    valid = unseen.valid.copy()
    valid[0, :-1] = False
    terms = trained.model.terms(replace(unseen, valid=valid))
    assert np.isnan(terms[0]).all()
    np.testing.assert_allclose(terms[1:], trained.model.terms(unseen)[1:], rtol=1e-4, atol=1e-5)


def test_speeds_are_means_over_the_valid_steps(trained: FitResult, unseen: TrackWindows) -> None:
    layout = trained.model.examiner.preparation.layout
    velocity = slice(layout.kinematics_slice.start + 4, layout.kinematics_slice.start + 6)
    features, valid = unseen.features.copy(), unseen.valid.copy()
    features[:, :, velocity] = 0.5
    alike = trained.model.speeds(replace(unseen, features=features))
    features[:, 0, velocity], valid[:, 0] = 9.0, False
    hidden = trained.model.speeds(replace(unseen, features=features, valid=valid))
    np.testing.assert_allclose(hidden, alike, rtol=0.1)  # the place is a mean over the steps too
    features[:, :, velocity] = 1.0
    np.testing.assert_allclose(
        trained.model.speeds(replace(unseen, features=features)), 2 * alike, rtol=1e-5
    )


@pytest.mark.parametrize("step", [1, 5, 9, 13, 15])
def test_step_deviations_single_out_the_corrupted_step(
    trained: FitResult, unseen: TrackWindows, step: int
) -> None:
    network = next(m for m in getattr(trained.model, "members", (trained.model,)) if is_steps(m))
    found = network.step_deviations(corrupted(unseen, step))
    assert found.shape == (*unseen.valid.shape, 2)
    assert found.mean(axis=2).argmax(axis=1).tolist() == [step] * len(unseen.index)
    assert (found[:, step] > 3).all()


def test_no_step_of_a_real_window_is_left_out_or_far_off(
    trained: FitResult, unseen: TrackWindows
) -> None:
    network = next(m for m in getattr(trained.model, "members", (trained.model,)) if is_steps(m))
    assert (network.step_deviations(unseen).mean(axis=(1, 2)) < 3).all()


def test_no_window_no_terms(trained: FitResult, unseen: TrackWindows) -> None:
    none = np.zeros(0, np.int64)
    empty = replace(
        unseen,
        index=none,
        features=unseen.features[none],
        times=unseen.times[none],
        valid=unseen.valid[none],
    )
    assert trained.model.terms(empty).shape == (0, 5)


def test_windows_of_one_step_are_not_trained_on(footage: Footage, split: Split, tiny_run) -> None:
    assert tiny_run.windows.min_observations == 1
    assert training_data(footage, split, tiny_run).table.valid.sum(axis=1).min() == MIN_STEPS


def test_dissimilarity_of_the_memory_itself_is_zero(
    trained: FitResult, footage: Footage, split: Split, tiny_run
) -> None:
    assert np.linalg.norm(trained.model.memory, axis=1) == pytest.approx(1.0, abs=1e-5)
    column = trained.model.term_names.index("dissimilarity")
    values = np.concatenate(
        [
            trained.model.terms(cut)[:, column]
            for name in split.train[:3]
            for cut in windows_of(footage.clips[name], replace(tiny_run.windows, hop=4))
        ]
    )
    values = values[np.isfinite(values)]  # the first step of a track alone has none
    assert values.min() == pytest.approx(0.0, abs=1e-5)
    assert (values < 2).all()


def test_the_model_predicts_hidden_steps_better_than_trivial_rules(trained: FitResult) -> None:
    # A hidden cue is left out: here the looks of people say nothing of how they walk.
    for cue in ("appearance", "motion"):
        errors = trained.report["reconstruction"][f"{cue}, steps hidden"]
        assert errors[MAE] < 0.9 * min(errors[name] for name in ("mean", "linear", "last"))


def test_shuffled_windows_score_higher(trained: FitResult) -> None:
    assert trained.report["shuffled_auc"] > 0.8


def test_a_trained_model_has_not_collapsed(trained: FitResult) -> None:
    spread = trained.report["spread"]
    assert spread["appearance_spread"] > 0.5
    assert spread["motion_spread"] > 0.5
    assert spread["embedding_spread"] > 0.5


def test_an_unknown_term_is_refused(trained: FitResult) -> None:
    examiner = trained.model.examiner
    scoring = replace(examiner.config.scoring, terms=("speed",))
    other = replace(examiner, config=replace(examiner.config, scoring=scoring))
    with pytest.raises(ValueError, match=r"scoring\.terms: got \['speed'\]"):
        TemporalMaeModel(examiner=other, normal=trained.model.normal, memory=trained.model.memory)
