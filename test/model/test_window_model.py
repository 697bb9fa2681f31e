from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.model.window_model import build


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
