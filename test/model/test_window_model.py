from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.model.config import ScoringConfig
from tao_anomaly.model.window_model import (
    TERMS,
    Examination,
    build,
    check_scoring,
    mean_where,
    whole_cue_errors,
)


def test_a_token_gets_the_mean_of_the_passes_that_hid_it() -> None:
    # two passes, one window, three steps, both cues alike
    errors = torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])[:, None, :, None].repeat(1, 1, 1, 2)
    hidden = torch.tensor([[True, True, False], [True, False, False]])[:, None, :, None]
    found = mean_where(errors, hidden.expand_as(errors))[0, :, 0]
    assert found[:2].tolist() == [3.0, 2.0]
    assert found[2].isnan()


def test_a_cue_is_judged_by_the_pass_that_hid_all_of_it() -> None:
    scoring = ScoringConfig(time_passes=1)
    # passes: steps hidden, motion hidden, appearance hidden; the first step is invalid
    errors = torch.arange(12.0).view(3, 1, 2, 2)
    hidden = torch.tensor([[False, False], [True, True]]).expand(3, 1, 2, 2)
    found = whole_cue_errors(errors, hidden, scoring)
    assert found[0, 0].isnan().all()
    assert found[0, 1].tolist() == [10.0, 7.0]  # appearance of pass 2, motion of pass 1
    without = whole_cue_errors(errors, hidden, ScoringConfig(cue_passes=False))
    assert without.isnan().all()


def test_terms_of_an_examination_worked_out_by_hand() -> None:
    nan = np.nan
    seen = Examination(
        steps=np.array([[[nan, nan], [1.0, 10.0], [3.0, nan]]], np.float32),
        cues=np.array([[[nan, nan], [5.0, 20.0], [7.0, 40.0]]], np.float32),
        embedding=np.array([[0.6, 0.8]], np.float32),
    )
    memory = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    found = {name: float(term(seen, memory)[0]) for name, term in TERMS.items()}
    assert found == pytest.approx(
        {
            "step_appearance": 2.0,
            "step_motion": 10.0,
            "cue_appearance": 6.0,
            "cue_motion": 30.0,
            "recon": 12.0,
            "dissimilarity": 0.2,
        }
    )


def test_recon_without_cue_passes_is_that_of_the_hidden_steps() -> None:
    seen = Examination(
        steps=np.array([[[1.0, 3.0]]], np.float32),
        cues=np.full((1, 1, 2), np.nan, np.float32),
        embedding=np.ones((1, 1), np.float32),
    )
    assert TERMS["recon"](seen, np.ones((1, 1), np.float32)).tolist() == [2.0]


def test_cue_terms_need_cue_passes() -> None:
    with pytest.raises(ValueError, match="got cue terms without passes for them"):
        check_scoring(ScoringConfig(cue_passes=False))


def test_plugins_are_taken_from_the_environment(
    artifact_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAO_ANOMALY_PLUGINS", "no_such_plugin")
    with pytest.raises(ValueError, match="plugins: got 'no_such_plugin'"):
        build(load_artifact(artifact_folder))


def test_a_model_with_somebody_elses_pooling_names_what_is_missing(artifact_folder: Path) -> None:
    artifact = load_artifact(artifact_folder)
    config = {**artifact.config, "model": {**artifact.config["model"], "pooling": "theirs"}}
    with pytest.raises(ArtifactError, match=r"'theirs', expected one of .*TAO_ANOMALY_PLUGINS"):
        build(replace(artifact, config=config))
