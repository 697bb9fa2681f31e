from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.model.artifact import (
    Artifact,
    ArtifactError,
    add_export,
    check_target,
    load_artifact,
    save_artifact,
)
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.structures import FeatureLayout

LAYOUT = FeatureLayout(appearance=4, kinematics=len(KINEMATICS), grid=3)
CALIBRATION = Calibration(
    term_names=("speed", "appearance"),
    location=(0.1, 2.0),
    scale=(1.0, 0.3),
    weights=(0.5, 0.5),
    cap=10.0,
    threshold={"rule": "fixed", "value": 3.0},
    evidence={"clips": ["a", "b"]},
)
TENSORS = {
    "mean": np.arange(4, dtype=np.float32),
    "memory": np.arange(24, dtype=np.float32).reshape(4, 6).T,  # not contiguous
    "counts": np.array([1, 2**40], np.int64),
}


def save(folder: Path, **changes: object) -> str:
    settings: dict[str, object] = {
        "kind": "cues",
        "feature_id": "f00",
        "layout": LAYOUT,
        "config": {"depth": 6, "name": "plaza", "nested": {"share": 0.1}},
        "tensors": TENSORS,
        "calibration": CALIBRATION,
    }
    return save_artifact(folder, **{**settings, **changes})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "model"
    model_id = save(folder)
    artifact = load_artifact(str(folder))
    assert artifact.model_id == model_id
    assert (artifact.kind, artifact.feature_id, artifact.folder) == ("cues", "f00", folder)
    assert artifact.layout == LAYOUT
    assert artifact.calibration == CALIBRATION
    assert artifact.config == {"depth": 6, "name": "plaza", "nested": {"share": 0.1}}
    assert artifact.exports == {}
    assert artifact.tensors.keys() == TENSORS.keys()
    for key, value in TENSORS.items():
        assert artifact.tensors[key].dtype == value.dtype
        np.testing.assert_array_equal(artifact.tensors[key], value)
    assert names(folder) == ["calibration.json", "config.json", "model.safetensors"]
    assert names(folder.parent) == ["model"]  # no temporary folder is left


def test_equal_content_has_an_equal_id(tmp_path: Path) -> None:
    first = save(tmp_path / "first")
    again = save(tmp_path / "second", tensors=dict(reversed(TENSORS.items())))
    assert first == again
    assert len(first) == 12
    assert int(first, 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "temporal_mae"},
        {"feature_id": "f01"},
        {"config": {"depth": 5}},
        {"layout": FeatureLayout(4, 7, 2)},
        {"tensors": {**TENSORS, "mean": np.array([0, 1, 2, 4], np.float32)}},
        {"calibration": Calibration(("a",), (0,), (1,), (1,), 10.0, {"rule": "fixed", "value": 3})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_changes_the_id(tmp_path: Path, change: dict[str, object]) -> None:
    assert save(tmp_path / "a") != save(tmp_path / "b", **change)


def test_a_model_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    old = save(folder)
    add_export(folder, "model.onnx", b"old")
    new = save(folder, config={"depth": 7})
    artifact = load_artifact(folder)
    assert artifact.model_id == new != old
    assert artifact.exports == {}
    assert "model.onnx" not in names(folder)
    assert names(tmp_path) == ["model"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    save(tmp_path / "model")
    assert load_artifact(tmp_path / "model").kind == "cues"


def test_a_folder_of_other_things_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for target in (tmp_path, tmp_path / "file"):
        for refuse in (save, check_target):
            with pytest.raises(ArtifactError, match="holds something else; name a new folder"):
                refuse(target)
    assert names(tmp_path) == ["file", "thesis.tex"]


def test_what_cannot_be_written_leaves_the_old_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model_id = save(folder)
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(folder, config={"share": float("nan")})
    assert load_artifact(folder).model_id == model_id
    assert names(tmp_path) == ["model"]


def test_exports_join_without_changing_the_id(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model_id = save(folder)
    add_export(folder, "model.onnx", b"graph")
    add_export(folder, "model.bin", b"weights")
    add_export(folder, "model.onnx", b"better graph")
    artifact = load_artifact(folder)
    assert artifact.model_id == model_id
    assert {name: path.read_bytes() for name, path in artifact.exports.items()} == {
        "model.onnx": b"better graph",
        "model.bin": b"weights",
    }
    (folder / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(ArtifactError, match=r"model\.onnx: its SHA-256 is not the one in config"):
        load_artifact(folder)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    save(tmp_path / "model", tensors={**TENSORS, "bad": np.array([1, np.inf], np.float32)})
    return load_artifact(tmp_path / "model")


def test_a_tensor_is_handed_out_in_the_shape_asked_for(artifact: Artifact) -> None:
    assert artifact.tensor("memory", (None, 4)).shape == (6, 4)
    assert artifact.tensor("mean", (4,)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("gone", (4,), "key 'gone' is missing; fit the model again"),
        ("mean", (5,), r"key 'mean' has shape \(4,\), expected finite \(5,\)"),
        ("memory", (None,), r"key 'memory' has shape \(6, 4\), expected finite \('any',\)"),
        ("bad", (2,), "key 'bad' has values that are not finite"),
    ],
)
def test_another_tensor_names_its_key(
    artifact: Artifact, key: str, shape: tuple[int | None, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        artifact.tensor(key, shape)


@pytest.mark.parametrize("name", ["config.json", "calibration.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: not found"):
        load_artifact(tmp_path / "model")


def test_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not found; expected the folder of a fitted model"):
        load_artifact(tmp_path / "gone")


def test_the_files_are_for_people_too(tmp_path: Path) -> None:
    save(tmp_path / "model")
    document = json.loads((tmp_path / "model" / "config.json").read_text())
    assert document["layout"] == {"appearance": 4, "kinematics": 15, "grid": 3, "classes": 0}
    assert set(document["files"]) == {"model.safetensors", "calibration.json"}
