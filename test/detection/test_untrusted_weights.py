"""Weights files from anywhere: none may run code, and each failure is a WeightsError."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics.nn.modules import TorchVision
from ultralytics.nn.tasks import DetectionModel

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.ultralytics_adapter import TorchBackend
from tao_anomaly.weights import WeightsError

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

ARCHITECTURE = {
    "nc": 2,
    "channels": 3,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
    "head": [[[0], 1, "Detect", ["nc"]]],
}


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


def load(path: Path) -> TorchBackend:
    return TorchBackend.load(path, config=DetectorConfig(weights=str(path)))


def payloads(marker: Path) -> dict[str, object]:
    code = f"__import__('os').system('touch {marker}')"
    return {
        "system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, code),
        "import": Calls(importlib.import_module, "os"),
        # An allowed class, whose constructor evaluates the text it is given.
        "constructor": Calls(DetectionModel, {**ARCHITECTURE, "activation": code}),
        "other constructor": Calls(TorchVision, "alexnet", "DEFAULT"),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["system", "eval", "import", "constructor", "other constructor"])
def test_code_in_a_checkpoint_is_refused_and_not_run(
    tmp_path: Path, name: str, zipped: bool
) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "executed"
    evil = {"model": payloads(marker)[name]}
    torch.save(evil, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"evil\.pt: cannot be used .* expected a YOLOv8"):
        load(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["system", "eval", "constructor"])
def test_what_is_refused_is_dangerous_indeed(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "executed"
    with contextlib.suppress(TypeError):  # the constructor fails after it has run the code
        pickle.loads(pickle.dumps(payloads(marker)[name]))
    assert marker.exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "bare.pt", tmp_path / "executed"
    path.write_bytes(pickle.dumps(payloads(marker)["system"]))
    with pytest.raises(WeightsError, match=r"bare\.pt"):
        load(path)
    assert not marker.exists()


def test_the_error_names_the_code_and_gives_no_unsafe_advice(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"model": payloads(tmp_path / "executed")["system"]}, path)
    with pytest.raises(WeightsError, match=r"it holds code: posix\.system") as caught:
        load(path)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_name_of_an_export_opens_no_checkpoint(tmp_path: Path, weights: Path) -> None:
    path = tmp_path / "named.onnx"
    path.symlink_to(weights)
    with pytest.raises(WeightsError, match=r"named\.onnx: .*it is named as an export"):
        load(path)


@pytest.mark.parametrize("share", [0, 1e-7, 1e-5, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, weights: Path, share: float) -> None:
    path = tmp_path / "cut.pt"
    content = weights.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"cut\.pt: .*get one again or check its SHA-256"):
        load(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (torch.zeros(3), "no YOLOv8 network"),
        ({"model": None}, "no YOLOv8 network"),
        ({"model": {"weight": torch.zeros(3)}}, "no YOLOv8 network"),
        ({"model": torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1))}, "no YOLOv8 network"),
        ({"model": torch.nn.LSTM(2, 2)}, r"holds code: torch\.nn\.modules\.rnn\.LSTM"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=reason):
        load(path)


def test_networks_that_do_not_end_in_detect_are_refused(tmp_path: Path) -> None:
    model = DetectionModel(ARCHITECTURE, verbose=False)
    model.model = model.model[:1]
    torch.save({"model": model}, tmp_path / "headless.pt")
    with pytest.raises(WeightsError, match="its last layer is Conv, expected Detect"):
        load(tmp_path / "headless.pt")


def test_a_checkpoint_as_a_training_leaves_it_is_read(tmp_path: Path) -> None:
    model = DetectionModel(ARCHITECTURE, verbose=False)
    model.names = {0: "robot", 1: "pallet"}
    half = {"epoch": -1, "model": model.half(), "ema": None, "optimizer": None, "date": "today"}
    facts = {"train_args": {"data": Path("scene.yaml")}, "best_fitness": np.float64(0.5)}
    torch.save({**half, **facts}, tmp_path / "trained.pt")
    backend = load(tmp_path / "trained.pt")
    assert backend.class_names == {0: "robot", 1: "pallet"}
    assert backend.channels == (8,)
    output = backend.forward(np.zeros((1, 3, 64, 64), np.float32))
    assert output.predictions.shape[1] == 4 + 2
    assert output.predictions.dtype == np.float32


def test_damage_anywhere_in_the_pickle_is_a_weights_error_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "sound.pt"
    torch.save({"model": DetectionModel(ARCHITECTURE, verbose=False)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    entry = next(name for name in parts if name.endswith("data.pkl"))
    random.seed(0)
    refused = 0
    for _ in range(60):
        pickled = bytearray(parts[entry])
        pickled[random.randrange(len(pickled))] = random.randrange(256)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {**parts, entry: bytes(pickled)}.items():
                archive.writestr(name, content)
        path.write_bytes(buffer.getvalue())
        try:
            load(path)
        except WeightsError:
            refused += 1
    assert refused > 10
