"""Artifacts from a stranger: each is refused by name, and nothing in them runs."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.model.window_model import build


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forge(folder: Path, change: Callable[[dict[str, Any]], None] = lambda document: None) -> None:
    """Rewrite config.json so that all hashes fit, as an attacker would."""
    path = folder / "config.json"
    document = json.loads(path.read_text())
    change(document)
    document["files"] = {name: digest(folder / name) for name in document["files"]}
    document["exports"] = {name: digest(folder / name) for name in document["exports"]}
    kept = {k: v for k, v in document.items() if k not in ("model_id", "exports")}
    text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
    document["model_id"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    path.write_text(json.dumps(document))


def edit_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)
    forge(folder)


def test_the_forger_forges_well(artifact_folder: Path) -> None:
    forge(artifact_folder)
    terms = build(load_artifact(artifact_folder)).term_names
    assert (terms[0], terms[-1]) == ("speed", "dissimilarity")


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ["PAYLOAD_TARGET"],))


def test_pickle_named_safetensors_is_refused_and_does_not_run(
    artifact_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "executed"
    monkeypatch.setenv("PAYLOAD_TARGET", str(target))
    payload = pickle.dumps(Payload())
    pickle.loads(payload)
    assert target.is_dir(), "the payload is live"
    target.rmdir()
    (artifact_folder / "model.safetensors").write_bytes(payload)
    forge(artifact_folder)
    with pytest.raises(ArtifactError, match=r"model\.safetensors: not a safetensors file"):
        load_artifact(artifact_folder)
    assert not target.exists()


def test_truncated_tensors_are_refused(artifact_folder: Path) -> None:
    path = artifact_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"model\.safetensors: its SHA-256"):
        load_artifact(artifact_folder)
    forge(artifact_folder)
    with pytest.raises(ArtifactError, match=r"model\.safetensors: not a safetensors file"):
        load_artifact(artifact_folder)


def test_one_edited_byte_is_refused(artifact_folder: Path) -> None:
    path = artifact_folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=r"model\.safetensors: its SHA-256"):
        load_artifact(artifact_folder)


def test_an_edited_setting_is_refused(artifact_folder: Path) -> None:
    path = artifact_folder / "config.json"
    path.write_text(path.read_text().replace('"ratio": 0.75', '"ratio": 0.5'))
    with pytest.raises(ArtifactError, match=r"config\.json: .*'model_id'"):
        load_artifact(artifact_folder)


def test_another_format_version_is_refused(artifact_folder: Path) -> None:
    forge(artifact_folder, lambda document: document.update(format=99))
    with pytest.raises(ArtifactError, match="key 'format' is 99, expected 1"):
        load_artifact(artifact_folder)


def wrong_shape(tensors: dict[str, np.ndarray]) -> None:
    tensors["network.place_in.weight"] = np.zeros((16, 4), np.float32)


def missing(tensors: dict[str, np.ndarray]) -> None:
    del tensors["standardizer.motion_std"]


def extra(tensors: dict[str, np.ndarray]) -> None:
    tensors["network.encoder.blocks.7.mlp_in.bias"] = np.zeros(3, np.float32)


def no_memory(tensors: dict[str, np.ndarray]) -> None:
    tensors["cues.flows"] = np.zeros((0, 8), np.float32)


def other_classes(tensors: dict[str, np.ndarray]) -> None:
    tensors["cues.class_levels"] = np.array([0.5], np.float32)


def not_finite(tensors: dict[str, np.ndarray]) -> None:
    tensors["memory"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            wrong_shape,
            r"'network\.place_in\.weight' has shape \(16, 4\), expected finite \(16, 5\)",
        ),
        (missing, r"'standardizer\.motion_std' is missing"),
        (extra, r"'network\.encoder\.blocks\.7\.mlp_in\.bias' is none of this model's"),
        (not_finite, "'memory' has values that are not finite"),
        (no_memory, r"'cues\.flows' has shape"),
        (other_classes, r"'cues\.class_levels' has shape \(1,\), expected finite \(0,\)"),
    ],
)
def test_tensors_that_do_not_fit_the_settings_are_named(
    artifact_folder: Path, change: Callable[[dict[str, np.ndarray]], None], message: str
) -> None:
    edit_tensors(artifact_folder, change)
    with pytest.raises(ArtifactError, match=message):
        build(load_artifact(artifact_folder))


def setting(section: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["config"][section].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("model", "depth", 0), r"ModelConfig\.depth: got 0, expected at least 1"),
        (setting("model", "depth", "six"), r"model\.depth: got 'six', expected int"),
        (setting("model", "depth", 10**9), r"ModelConfig\.depth: got 1000000000"),
        (setting("model", "layers", 3), r"model\.layers: unknown setting"),
        (setting("model", "pooling", "os.system"), "pooling: got 'os.system'"),
        (setting("scoring", "terms", ["speed"]), r"terms: got \['speed'\]"),
        (setting("scoring", "cues", ["smell"]), "cues: got smell, expected some of speed"),
        (setting("scoring", "cues", ["speed"]), r"cue_weights: got 6 weights for 1 cues"),
        (lambda d: d["config"].pop("masks"), "masks: got None"),
        (lambda d: d["config"].pop("scene_scale"), "scene_scale"),
    ],
)
def test_settings_that_make_no_sense_are_named(
    artifact_folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    forge(artifact_folder, change)
    with pytest.raises(ArtifactError, match=message):
        build(load_artifact(artifact_folder))
