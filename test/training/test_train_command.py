"""The command itself, in processes of its own: killed, resumed, repeated."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.model.engines import ONNX_FILE
from tao_anomaly.model.window_model import build_network_model
from training.settings import LoggerConfig, TrainRun
from training.train import train

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = [
    "model.components=3",
    "model.d_model=16",
    "model.depth=1",
    "model.heads=2",
    "model.decoder_dim=8",
    "model.decoder_heads=2",
    "model.embedding_dim=4",
    "train.epochs=6",
    "train.device=cpu",
    "train.threads=1",
    "eval.windows=50",
]


def command(store: Path, output: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "training.train", "--config-name", "fast", *TINY),
            *(f"data.store={store}", f"output={output}", *words),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def saved_model_id(out: str) -> str:
    found = re.search(r"^model ([0-9a-f]{12}) saved to ", out, re.MULTILINE)
    assert found, out
    return found.group(1)


@pytest.fixture(scope="module")
def unbroken(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the words of a run that nothing disturbed."""
    output = tmp_path_factory.mktemp("unbroken")
    return output, finished(command(store, output))


def test_a_run_gives_an_artifact_that_loads_with_its_export(unbroken: tuple[Path, str]) -> None:
    output, words = unbroken
    artifact = load_artifact(output / "artifact")
    assert artifact.model_id == saved_model_id(words)
    assert artifact.exports.keys() == {ONNX_FILE}
    assert build_network_model(artifact).examiner.engine.name.startswith("openvino")
    assert (
        build_network_model(artifact, backend="onnxruntime").examiner.engine.name == "onnxruntime"
    )
    assert len(artifact.calibration.evidence["check_clips"]) == 3
    used = artifact.config["fitted_with"]["clips"]
    assert not set(used) & set(artifact.calibration.evidence["check_clips"])
    assert not set(used) & set(artifact.calibration.evidence["calibration_clips"])


def test_it_writes_a_report_and_curves(unbroken: tuple[Path, str]) -> None:
    output, _ = unbroken
    report = (output / "report.md").read_text()
    assert "| hidden tokens | temporal MAE | mean | linear | last |" in report
    assert "realised" in report
    assert list(output.glob("tao_anomaly/events.out.tfevents.*"))


def test_killed_and_resumed_it_gives_the_weights_of_the_unbroken_run(
    store: Path, tmp_path: Path, unbroken: tuple[Path, str]
) -> None:
    process = command(store, tmp_path, "logger=wandb")
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("checkpoints/epoch-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "artifact").exists()
    resumed = finished(command(store, tmp_path, "logger=wandb"))
    expected = safetensors.numpy.load_file(unbroken[0] / "artifact" / "model.safetensors")
    got = safetensors.numpy.load_file(tmp_path / "artifact" / "model.safetensors")
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert (got[name] == value).all(), name
    # Another process, another logger, a kill between: still the same artifact.
    assert saved_model_id(resumed) == saved_model_id(unbroken[1])
    runs = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(runs) == 2, "each start is an offline run of Weights & Biases"
    assert b"temporal_mae" in runs[-1].read_bytes(), "the artifact is logged"


def test_a_mistake_is_told_without_a_trace(store: Path, tmp_path: Path) -> None:
    process = command(store, tmp_path, "logger=none", "train.epochs=0")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.endswith("error: TrainingConfig.epochs: got 0, expected at least 1\n")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"pooling": "hybrid"}}, r"the features hold none; .*features\.grid=3"),
        ({"model": {"pooling": "max"}}, "got 'max', expected one of attention, gap, hybrid"),
        ({"data": {"split": "test"}}, r"the store holds synthetic \(train\)"),
        ({"data": {"store": ""}}, "give data.store="),
        ({"scoring": {"weights": (1.0,)}}, r"1 weights for 5 terms"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    store: Path, tmp_path: Path, tiny_run: TrainRun, change: dict[str, Any], message: str
) -> None:
    data = replace(tiny_run.data, store=str(store))
    run = replace(tiny_run, output=str(tmp_path), data=data, logger=LoggerConfig(name="none"))
    for part, values in change.items():
        run = replace(run, **{part: replace(getattr(run, part), **values)})
    with pytest.raises(ValueError, match=message):
        train(run)
    assert not (tmp_path / "artifact").exists()


def test_a_user_adds_a_loss_in_a_module_of_the_working_directory(
    store: Path, tmp_path: Path, tiny_run: TrainRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugin_for_test.py").write_text(
        "from tao_anomaly.model.losses import LOSSES\n"
        "@LOSSES.register('test_smoothness')\n"
        "def smoothness(outputs, targets):\n"
        "    return outputs['motion'].diff(dim=1).square().mean()\n"
    )
    monkeypatch.chdir(tmp_path)
    run = replace(
        tiny_run,
        output=str(tmp_path / "run"),
        plugins=("plugin_for_test",),
        data=replace(tiny_run.data, store=str(store)),
        train=replace(
            tiny_run.train, epochs=1, losses={"reconstruction": 1.0, "test_smoothness": 9}
        ),
        logger=LoggerConfig(name="tensorboard"),
    )
    train(run)
    curves = EventAccumulator(str(tmp_path / "run" / "tao_anomaly")).Reload()
    assert curves.Scalars("train/test_smoothness")[0].value > 0
    assert "train/contrastive" not in curves.Tags()["scalars"]
    with pytest.raises(ValueError, match="plugins: got 'no_such_module', which cannot be imported"):
        train(replace(run, plugins=("no_such_module",)))
