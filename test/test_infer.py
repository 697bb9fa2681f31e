from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tao_anomaly import infer
from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.media.source import open_source
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.pipeline import Pipeline
from tao_anomaly.structures import Frame

IMAGES = 10


def call(monkeypatch: pytest.MonkeyPatch, weights: Path, *words: str) -> int:
    settings = [f"pipeline.detector.weights={weights}", "pipeline.detector.threads=2"]
    monkeypatch.setattr("sys.argv", ["infer", *settings, *words])
    return infer.main()


def test_a_clip_becomes_a_table_and_a_video_twice_the_same(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fitted_model: Path,
    weights: Path,
    ped2: Path,
    tmp_path: Path,
) -> None:
    # The progress bar may be switched off; the limit holds all the same.
    monkeypatch.setenv("TQDM_DISABLE", "1")
    clip = ped2 / "Test" / "Test004"
    for name in ("first", "second"):
        words = [f"source={clip}", f"model={fitted_model}", f"output={tmp_path / name}"]
        assert call(monkeypatch, weights, *words, f"limit={IMAGES}") == 0
    told = capfd.readouterr().out
    assert re.search(rf"{IMAGES} images scored, 0 skipped, \d+ events; results in .*first", told)
    tables = [(tmp_path / name / "scores.parquet").read_bytes() for name in ("first", "second")]
    assert tables[0] == tables[1]
    table = pq.read_table(tmp_path / "first" / "scores.parquet")
    assert table.schema.metadata[b"model_id"].decode() == load_artifact(fitted_model).model_id
    rows = table.to_pylist()
    assert {row["frame"] for row in rows} == set(range(IMAGES))
    assert {row["stamp_ns"] for row in rows} == {i * 10**8 for i in range(IMAGES)}
    assert {row["class_name"] for row in rows if row["confidence"] > 0.5} == {"person"}
    assert len(rows) > 3 * IMAGES
    assert np.isfinite([row["score"] for row in rows]).all()
    assert {row["state"] for row in rows} <= {"NORMAL", "ANOMALOUS"}
    assert {row["observations"] for row in rows} >= set(range(1, IMAGES + 1))
    video = open_source(tmp_path / "first" / "overlay.mp4")
    assert (video.length, video.rate) == (IMAGES, 10.0)
    assert next(iter(video)).size == (480, 720)
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [
        "latency.json",
        "overlay.mp4",
        "scores.parquet",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give source=<what to score> and model=<folder of an artifact>"),
        (["source=gone.mp4", "model=m"], "gone.mp4: not found"),
        (["source={footage}/Train001", "model=m"], "m/config.json: not found"),
        (["source={footage}", "model={model}"], "no image in this folder"),
        (
            ["source={footage}/Train001", "model={model}", "pipeline.detector.input_size=320"],
            "was fitted on features",
        ),
        (["source={footage}/Train001", "model={model}", "output=file/out"], "file"),
    ],
)
def test_what_cannot_be_scored_is_told_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fitted_model: Path,
    footage: Path,
    weights: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    given = [word.format(footage=footage, model=fitted_model) for word in words]
    assert call(monkeypatch, weights, *given) == 1
    told = capsys.readouterr().err
    assert "error: " in told
    assert message in told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_wrong_setting_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    assert call(monkeypatch, weights, "limit=-1") == 2
    assert call(monkeypatch, weights, "smoothing=2") == 2
    told = capsys.readouterr().err
    assert "InferConfig.limit: got -1, expected at least 0" in told
    assert "smoothing: Key 'smoothing' not in 'InferConfig'" in told


@dataclass
class Interrupted:
    """A source in whose third image somebody presses Ctrl-C."""

    frames: list[Frame]
    name: str = "camera 0"
    rate: float = 10.0
    length: int | None = None
    skipped: int = 0

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frames[:2]
        raise KeyboardInterrupt


@pytest.fixture
def pipeline(fitted_model: Path, detector: Detector) -> Pipeline:
    artifact = load_artifact(fitted_model)
    return Pipeline.from_config(PipelineConfig(), artifact=artifact, detector=detector)


def test_ctrl_c_keeps_what_was_scored(pipeline: Pipeline, ped2: Path, tmp_path: Path) -> None:
    frames = list(islice(open_source(ped2 / "Test" / "Test004"), 3))
    config = infer.InferConfig(output=str(tmp_path))
    assert infer.infer(Interrupted(frames), pipeline, config) == (2, 0)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert {row["frame"] for row in rows} == {0, 1}
    assert open_source(tmp_path / "overlay.mp4").length == 2


def test_skipped_images_are_not_written(pipeline: Pipeline, ped2: Path, tmp_path: Path) -> None:
    first, second = islice(open_source(ped2 / "Test" / "Test004"), 2)
    twice = replace(second, stamp_ns=first.stamp_ns)
    config = infer.InferConfig(output=str(tmp_path), video=False)
    assert infer.infer(Interrupted([first, twice]), pipeline, config) == (1, 0)
    assert pipeline.perception.skipped == {"duplicate stamp": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latency.json", "scores.parquet"]
