from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from benchmarks.timing.crowd import mosaics
from benchmarks.timing.cuda import BatchSizes, measure_batches
from benchmarks.timing.measure import Timing
from benchmarks.timing.stages import Stopwatch
from benchmarks.timing.tables import comparison, table
from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.media.source import open_source
from tao_anomaly.structures import Frame

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "speed.py"
STAGES = [
    "letterbox",
    "forward",
    "suppression (NMS)",
    "tracking",
    "RoI features",
    "windows",
    "scoring",
]


@pytest.fixture(scope="module")
def speed() -> ModuleType:
    spec = importlib.util.spec_from_file_location("speed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["speed"] = module  # its dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module


def call(speed: ModuleType, monkeypatch: pytest.MonkeyPatch, weights: Path, *words: str) -> int:
    settings = [f"pipeline.detector.weights={weights}", "pipeline.detector.threads=2"]
    monkeypatch.setattr("sys.argv", ["speed.py", *settings, *words])
    return speed.main()


@pytest.mark.parametrize("with_model", [False, True])
def test_each_stage_has_its_time(
    speed: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    footage: Path,
    fitted_model: Path,
    weights: Path,
    tmp_path: Path,
    with_model: bool,
) -> None:
    output = tmp_path / "results" / "speed.md"
    words = [f"source={footage / 'Train001'}", "warmup=3", "images=4", f"output={output}"]
    words += [f"model={fitted_model}"] if with_model else []
    assert call(speed, monkeypatch, weights, *words) == 0
    text = output.read_text()
    assert text in capsys.readouterr().out
    assert "- Images: 4 timed after 3 of warm-up" in text
    assert " cores, " in text
    assert "360x240" in text
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    rows = {cells[0].strip(): [float(c.strip(" %")) for c in cells[1:]] for cells in lines[3:]}
    beside = ["all beside forward and scoring", "all beside the forward"]
    assert list(rows) == [*STAGES, *beside, "all"]
    for stage, (median, mean, high, of_medians, of_means) in rows.items():
        assert 0 < median <= high, stage
        assert of_medians == pytest.approx(100 * median / rows["forward"][0], rel=0.05, abs=0.6)
        assert of_means == pytest.approx(100 * mean / rows["forward"][1], rel=0.05, abs=0.6)
    assert rows["all"][0] > rows["forward"][0]
    assert rows["forward"][3:] == [100, 100]


def test_all_takes_turns_and_is_compared_with_the_first(
    speed: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    footage: Path,
    weights: Path,
    tmp_path: Path,
) -> None:
    clip, output = footage / "Train001", tmp_path / "speed.md"
    words = [f"source={clip}", "warmup=2", "images=2", "backends=[torch,openvino]", "rival=true"]
    words += [f"crowd={clip}", "objects=[2]", "crowd_images=1", f"output={output}"]
    assert call(speed, monkeypatch, weights, *words) == 0
    text = capsys.readouterr().out
    parts = text.split("\n\n")
    torch_row, openvino_row, rival = (cells(line) for line in parts[2].splitlines()[2:])
    assert (torch_row[0], openvino_row[0], rival[0]) == ("torch", "openvino", "ultralytics track")
    assert torch_row[-2:] == ["1.00", "1.000000"]
    assert 0.9999 < float(openvino_row[-1]) <= 1
    assert rival[1:5] == ["", "", "", ""]
    assert float(rival[6]) > 1
    assert parts[3] == "## Stages with torch"
    crowd = [cells(line) for line in parts[9].splitlines()[2:]]
    assert [row[1] for row in crowd] == ["torch", "openvino", "ultralytics track"]
    assert [int(row[0]) for row in crowd if row[1] == "torch"] == [2]
    assert (tmp_path / "speed.svg").read_bytes().startswith(b"<?xml")
    assert "(speed.png)" in output.read_text()
    assert text.endswith("Not run: there is no CUDA device here.\n\n")


def test_cameras_share_a_detector(
    speed: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    footage: Path,
    weights: Path,
) -> None:
    words = [f"source={footage / 'Train001'}", "warmup=2", "images=8", "cameras=2"]
    assert call(speed, monkeypatch, weights, *words) == 0
    found = capsys.readouterr().out.split("## Cameras in one process")[1].split("\n\n")[1]
    rows = [[float(cell) for cell in cells(line)] for line in found.splitlines()[2:]]
    assert [row[0] for row in rows] == [1, 2]
    for count, together, each, median, high in rows:
        assert each == pytest.approx(together / count, abs=0.06)
        assert 0 < median <= high


def test_batches_are_timed_on_the_device(footage: Path, detector: Detector) -> None:
    table = measure_batches(
        list(open_source(footage / "Train001")),
        PipelineConfig(),
        detector,
        device=torch.device("cpu"),
        model="",
        store="",
        sizes=BatchSizes(images=2, windows=1, batches=1),
    )
    rows = dict(cells(line) for line in table.splitlines()[2:])
    forward, extraction, ratio = (float(rows[name].split()[0].rstrip("%")) for name in rows)
    assert next(iter(rows)) == "forward alone, 2 images a batch"
    assert 0 < ratio / 100 == pytest.approx(extraction / forward, rel=0.2)


def test_ratios_by_hand() -> None:
    def timing(name: str, forward: float, cosine: float) -> Timing:
        watch, bare = Stopwatch(), Stopwatch()
        watch.seconds.update({"forward": [forward] * 4, "tracking": [0.01] * 4})
        watch.seconds["scoring"] += [0.0, 0.0, 0.0, 0.04]
        bare.seconds["forward"] += [forward] * 3
        bare.cpu_seconds["forward"] += [2 * forward] * 3
        return Timing(name, watch, [], bare, cosine)

    rows = comparison([timing("torch", 0.08, 1.0), timing("fast", 0.02, 0.9995)])
    assert rows.splitlines()[2:] == [
        "| torch | 80.0 | 160.0 | 12.5% | 12.5% | 90.0 | 100.0 | 10.0 | 1.00 | 1.000000 |",
        "| fast | 20.0 | 40.0 | 50.0% | 50.0% | 30.0 | 40.0 | 25.0 | 3.00 | 0.999500 |",
    ]


def test_percentiles_are_those_of_the_images() -> None:
    watch = Stopwatch()
    watch.seconds.update({"forward": [0.1] * 20, "tracking": [0.001] * 19 + [0.021]})
    rows = table(watch).splitlines()[2:]
    assert rows == [
        "| forward | 100.00 | 100.00 | 100.00 | 100.0% | 100.0% |",
        "| tracking | 1.00 | 2.00 | 2.00 | 1.0% | 2.0% |",
        "| all beside forward and scoring | 1.00 | 2.00 | 2.00 | 1.0% | 2.0% |",
        "| all beside the forward | 1.00 | 2.00 | 2.00 | 1.0% | 2.0% |",
        "| all | 101.00 | 102.00 | 102.00 | 101.0% | 102.0% |",
    ]


def test_a_mosaic_holds_other_images_in_each_cell() -> None:
    frames = [
        Frame(np.full((30, 60, 3), value, np.uint8), 40_000_000 * value, value)
        for value in range(100)
    ]
    first, second = mosaics(frames, 2)
    assert first.image.shape == (30, 60, 3)
    assert first.image[5::10, 10::20, 0].tolist() == [[0, 7, 14], [21, 28, 35], [42, 49, 56]]
    assert (second.image == first.image + 1).all()
    assert (first.stamp_ns, second.stamp_ns) == (0, 40_000_000)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give source=<video, image folder or bag>"),
        (["source={clip}", "warmup=12"], "got 12 images, expected more than warmup=12"),
        (["source={clip}", "warmup=2", "model=gone"], "gone/config.json: not found"),
    ],
)
def test_what_cannot_be_timed_is_told(
    speed: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    footage: Path,
    weights: Path,
    words: list[str],
    message: str,
) -> None:
    given = [word.format(clip=footage / "Train001") for word in words]
    assert call(speed, monkeypatch, weights, *given) == 1
    assert message in capsys.readouterr().err
