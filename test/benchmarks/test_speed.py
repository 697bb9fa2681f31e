from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

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
    rows = {cells[0].strip(): [float(c.strip(" %")) for c in cells[1:]] for cells in lines[1:]}
    beside = ["all beside forward and scoring", "all beside the forward"]
    assert list(rows) == [*STAGES, *beside, "all"]
    for stage, (median, high, share) in rows.items():
        assert 0 < median <= high, stage
        assert share == pytest.approx(100 * median / rows["forward"][0], rel=0.05, abs=0.6)
    assert rows["all"][0] > rows["forward"][0]
    assert rows["forward"][2] == 100


def test_backends_take_turns_and_are_compared_with_the_first(
    speed: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    footage: Path,
    weights: Path,
) -> None:
    words = [f"source={footage / 'Train001'}", "warmup=2", "images=2", "backends=[torch,openvino]"]
    assert call(speed, monkeypatch, weights, *words) == 0
    text = capsys.readouterr().out
    compared, torch_stages, openvino_stages = text.split("\n\n")[2::2][:3]
    torch_row, openvino_row = (line.split(" | ") for line in compared.splitlines()[2:])
    assert (torch_row[0], openvino_row[0]) == ("| torch", "| openvino")
    assert (torch_row[4], torch_row[6], torch_row[7]) == ("1.00", "1.00", "1.000000 |")
    assert 0.9999 < float(openvino_row[7].strip(" |")) <= 1
    forward = torch_stages.splitlines()[3].split(" | ")
    assert forward[0] == "| forward"
    assert float(forward[1]) == pytest.approx(float(torch_row[1]), abs=0.06)
    assert openvino_stages.count("|\n") == len(STAGES) + 4


def test_ratios_by_hand(speed: ModuleType) -> None:
    def timing(name: str, forward: float, cosine: float) -> object:
        watch = speed.Stopwatch()
        watch.seconds.update({"forward": [forward, forward, 1.0], "tracking": [0.01] * 3})
        watch.cpu_seconds["forward"] += [2 * forward] * 3
        return speed.Timing(name, watch, [], cosine)

    rows = speed.comparison([timing("torch", 0.09, 1.0), timing("fast", 0.03, 0.9995)])
    assert rows.splitlines()[2:] == [
        "| torch | 90.0 | 90.0 | 180.0 | 1.00 | 100.0 | 1.00 | 1.000000 |",
        "| fast | 30.0 | 30.0 | 60.0 | 3.00 | 40.0 | 2.50 | 0.999500 |",
    ]


def test_percentiles_are_those_of_the_images(speed: ModuleType) -> None:
    watch = speed.Stopwatch()
    watch.seconds.update({"forward": [0.1] * 20, "tracking": [0.001] * 19 + [0.021]})
    rows = speed.table(watch).splitlines()[2:]
    assert rows[0] == "| forward | 100.00 | 100.00 | 100.0% |"
    assert rows[1] == "| tracking | 1.00 | 2.00 | 1.0% |"
    assert rows[2] == "| all beside forward and scoring | 1.00 | 2.00 | 1.0% |"
    assert rows[3] == "| all beside the forward | 1.00 | 2.00 | 1.0% |"
    assert rows[4] == "| all | 101.00 | 102.00 | 101.0% |"


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
