"""A checkpoint is used only where its SHA-256 is known, given, or waived."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tao_anomaly import export_detector, fit, weights
from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.weights import Release, WeightsError, find_weights
from training import detector_quality, train_detector

CONTENT = b"no checkpoint, and never opened as one"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_the_sha_256_is_compared_where_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(CONTENT)
    for given in (DIGEST, DIGEST.upper(), "any"):
        assert find_weights(str(path), sha256=given) == path
    with pytest.raises(WeightsError, match=f"got SHA-256 {DIGEST}, expected {'0' * 64}; get the"):
        find_weights(str(path), sha256="0" * 64)
    config = DetectorConfig(weights=str(path), weights_sha256="0" * 64)
    with pytest.raises(WeightsError, match="expected 0000"):
        Detector.from_config(config)


@pytest.mark.parametrize("name", ["mine.pt", "mine.pth", "mine"])
def test_a_checkpoint_that_nobody_vouches_for_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENT)
    expected = (
        f"{path}: got SHA-256 {DIGEST}, expected that of a known checkpoint; if you trust where the"
        " file is from, set detector.weights_sha256 (fit, infer, extract, evaluate:"
        " pipeline.detector.weights_sha256) to this hash, or to any"
    )
    for refused in (
        lambda: find_weights(str(path)),
        lambda: Detector.from_config(DetectorConfig(weights=str(path))),
    ):
        with pytest.raises(WeightsError) as caught:
            refused()
        assert str(caught.value) == expected


def test_a_published_checkpoint_needs_no_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "renamed.pt"
    path.write_bytes(CONTENT)
    monkeypatch.setitem(weights.RELEASES, "yolov8n", Release("", DIGEST))
    assert find_weights(str(path)) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="expected that of a known checkpoint"):
        find_weights(str(path))


def test_the_checkpoint_of_the_benchmarks_needs_no_hash(shared: Path) -> None:
    path = shared / "weights" / "yolov8n_coco.pt"
    assert find_weights(str(path)) == path


def test_an_export_needs_no_hash_but_must_have_the_one_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(CONTENT)
    for given in ("", DIGEST, "any"):
        assert find_weights(str(path), sha256=given) == path
    for name in (str(path), "plaza"):
        with pytest.raises(WeightsError, match=f"expected {'0' * 64}"):
            find_weights(name, sha256="0" * 64)


@pytest.mark.parametrize("given", ["0" * 63, "0" * 65, "g" * 64, "Any", "none", f"{'0' * 64}\n"])
@pytest.mark.parametrize("name", ["mine.pt", "mine.onnx"])
def test_what_is_no_hash_names_the_setting(tmp_path: Path, name: str, given: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(WeightsError) as caught:
        find_weights(str(tmp_path / name), sha256=given, setting="mask_weights_sha256")
    assert str(caught.value) == (
        f"mask_weights_sha256: got {given!r}, expected the 64 hexadecimal digits of a SHA-256,"
        " or any"
    )


@pytest.mark.parametrize(
    ("command", "words", "setting"),
    [
        (
            fit,
            ["source=.", "output=model", "pipeline.detector.weights=mine.pt"],
            "pipeline.detector.weights_sha256",
        ),
        (export_detector, ["weights=mine.pt", "output=mine.onnx"], "weights_sha256"),
        (detector_quality, ["detector.weights=mine.pt"], "detector.weights_sha256"),
        (train_detector, ["start=mine.pt", "output=run"], "start_sha256"),
    ],
)
def test_commands_refuse_it_in_one_line_and_take_the_remedy(
    command: ModuleType,
    words: list[str],
    setting: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.pt").write_bytes(CONTENT)

    def told(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["command", *words, *more])
        assert command.main() == 1
        return capsys.readouterr().err

    refused = told()
    assert refused.startswith(f"error: mine.pt: got SHA-256 {DIGEST}, expected that of a known")
    assert setting.removeprefix("pipeline.") in refused
    assert refused.count("\n") == 1
    assert ": got 'x', expected the 64 hexadecimal digits" in told(f"{setting}=x")
    assert f"got SHA-256 {DIGEST}, expected {'0' * 64}" in told(f"{setting}={'0' * 64}")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pt"]
    if command is not train_detector:  # which would render its images first
        for given in (DIGEST, "any"):
            assert "mine.pt: cannot be used" in told(f"{setting}={given}")
