from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tao_anomaly import fit
from tao_anomaly.config import CalibrationConfig, PipelineConfig, portable_settings
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.media.clip_file import ClipInfo
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.scoring.cues import CUES, KIND
from tao_anomaly.scoring.split import split_clips
from tao_anomaly.structures import FeatureLayout


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["fit", *words])
    return fit.main()


def test_one_command_fits_a_model_on_real_footage(
    fit_process: subprocess.CompletedProcess[str], fitted_model: Path, footage: Path
) -> None:
    artifact = load_artifact(fitted_model)
    assert f"model {artifact.model_id} saved to {fitted_model}" in fit_process.stdout
    assert "threshold" in fit_process.stdout
    assert "100%" in fit_process.stderr  # a progress bar over the
    assert "36/36" in fit_process.stderr  # images of all clips
    assert artifact.kind == KIND
    assert artifact.layout == FeatureLayout(448, len(KINEMATICS), classes=80)
    assert artifact.calibration.term_names == tuple(CUES)
    assert artifact.config["fitted_with"] == portable_settings(PipelineConfig())
    names = [str(footage / f"Train{i:03d}") for i in (1, 2, 3)]
    split = split_clips(names, CalibrationConfig())
    evidence = artifact.calibration.evidence
    assert evidence["calibration_clips"] == list(split.calibration)
    assert evidence["check_clips"] == list(split.check)
    assert evidence["check"]["tracks"] > 3
    assert len(artifact.tensors["cues.appearances"]) > 30  # a few people in each image of one clip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give source=<normal footage> or store=<its features>, and output=<folder of"),
        (
            ["source=a", "store=b", "output=c"],
            "give source=<normal footage> or store=<its features>",
        ),
        (["store=nowhere", "output=model"], "nowhere: holds no clip of the split 'train'"),
        (["source=gone", "output=model"], "gone: not found"),
        (["source={here}", "output={here}"], "holds something else; name a new folder"),
        (["source={here}", "output=model"], "holds no image, video or bag"),
        (["source=0", "output=m", "pipeline.detector.weights=gone.pt"], "no such weights file"),
    ],
)
def test_what_cannot_be_fitted_is_told_before_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    weights: Path,
    words: list[str],
    message: str,
) -> None:
    (tmp_path / "notes.txt").write_text("no footage")
    monkeypatch.chdir(tmp_path)
    given = [word.format(here=tmp_path) for word in words]
    assert call(monkeypatch, f"pipeline.detector.weights={weights}", *given) == 1
    told = capsys.readouterr().err
    assert "error: " in told
    assert message in told
    assert not (tmp_path / "model").exists()


def test_a_store_of_an_older_version_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    make_features,
) -> None:
    info = ClipInfo(
        dataset="d",
        clip="a",
        split="train",
        rate=10.0,
        feature_id="synthetic",
        layout=FeatureLayout(1, len(KINEMATICS)),
    )
    with FeatureStore(tmp_path / "old").writer(info) as writer:
        writer.add(0, make_features(0, {"0-1": [0] * info.layout.dim}, dim=info.layout.dim))
    assert call(monkeypatch, f"store={tmp_path / 'old'}", f"output={tmp_path / 'model'}") == 1
    assert "old: holds no class scores" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_wrong_setting_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "calibration.rule=guess") == 2
    assert "CalibrationConfig.rule: got 'guess', expected one of evt" in capsys.readouterr().err
