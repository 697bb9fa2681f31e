from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.model.window_model import build, build_network_model


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


def test_masks_kept_for_some_windows_are_not_those_of_others(artifact_folder: Path) -> None:
    model = build_network_model(load_artifact(artifact_folder), backend="torch")
    rng = np.random.default_rng(0)
    steps, dim = 8, model.examiner.preparation.layout.dim
    features = rng.normal(size=(3, steps, dim)).astype(np.float32)
    times = np.linspace(-0.7, 0, steps, dtype=np.float32)[None].repeat(3, axis=0)
    valid = np.ones((3, steps), np.bool_)
    valid[1, :5] = valid[2, 2] = False
    aspect = np.ones(3, np.float32)

    together = model.score(features, times, valid, aspect)
    for order in ([2, 0, 1], [1, 2, 0], [0, 1, 2]):
        for row in order:
            alone = model.score(*(part[[row]] for part in (features, times, valid, aspect)))
            np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-5)
