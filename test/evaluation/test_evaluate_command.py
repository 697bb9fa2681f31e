"""The command: the files it writes, and what it says of wrong words and data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.evaluation.pixel_map import FadingBox
from tao_anomaly.report import ReportConfig
from tao_anomaly.report import write_report as write_page

REPOSITORY = Path(__file__).resolve().parents[2]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_runs_write_identical_bytes(run, words, bench, tmp_path: Path) -> None:
    output = tmp_path / "out"
    runs = []
    for _ in range(2):
        shutil.rmtree(output, ignore_errors=True)
        status, _, err = run(*words, f"model={bench.model}", f"output={output}")
        assert status == 0, err
        runs.append(files_of(output))
    assert runs[0] == runs[1]
    assert sorted(runs[0]) == [
        "custom_model.json",
        "custom_model.md",
        "custom_model/details.json",
        "custom_model/detections/ride.txt",
        "custom_model/detections/walk.txt",
        "custom_model/ground_truth/ride.txt",
        "custom_model/ground_truth/walk.txt",
        "custom_model/scores/ride.parquet",
        "custom_model/scores/walk.parquet",
    ]


def test_a_result_is_replaced_whole_and_nothing_else(run, words, bench, tmp_path: Path) -> None:
    stale = tmp_path / "all" / "detections" / "stale.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("0,1,1,2,2,1\n")
    ours = (*words, f"model={bench.model}", f"output={tmp_path}", "baselines=false")
    assert run(*ours, "name=all")[0] == 0
    assert not stale.exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    status, _, err = run(*ours, "name=other")
    assert status == 1
    assert "holds something else" in err
    assert (tmp_path / "other" / "thesis.tex").read_text() == "precious"


def test_markdown_says_what_the_json_says(results: Path) -> None:
    text = (results / "all.md").read_text("utf-8")
    assert "| class rule | 85.0 | 85.0 | 81.2 | 50.0 |" in text
    assert "on 2000-01-01;" in text
    for part in ("Labels' SHA-256", "Smoothing: causal", "model_id", "feature_id synthetic"):
        assert part in text
    protocol = json.loads((results / "all.json").read_text("utf-8"))["protocol"]
    assert protocol["Test clips"] == "2 clips, 20 frames"
    assert protocol["Labels"].startswith("4 anomalous frames, 4 regions on 1 tracks")
    assert protocol["Pixel maps"] == FadingBox.note
    assert all(f"- {key}: {value}" in text for key, value in protocol.items())


def test_limit_is_marked_as_no_result(run, words, bench, tmp_path: Path) -> None:
    ours = (*words, f"model={bench.model}", f"output={tmp_path}", "name=one", "limit=1")
    status, _, err = run(*ours)
    assert status == 0, err
    document = json.loads((tmp_path / "one.json").read_text("utf-8"))
    assert document["protocol"]["Test clips"].endswith("not a result to compare")
    assert document["rows"][0]["metrics"]["frames"] == 10


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (("dataset=custom",), "one of model="),
        (("dataset=custom", "model=m", "detections=d"), "2 of them"),
        (("dataset=custom", "model=nowhere", "root=r"), "nowhere"),
        (("dataset=nothing", "model=m"), "expected one of"),
        (("dataset=custom", "model=m", "colour=red"), "colour"),
        (("dataset=custom", "model=m", "name=a/b"), "plain file name"),
    ],
)
def test_wrong_words_are_explained(run, changes: tuple[str, ...], problem: str) -> None:
    status, _, err = run(*changes)
    assert status in (1, 2)
    assert problem in err


def test_a_dataset_without_labels_is_refused(run, bench, tmp_path: Path) -> None:
    data = bench.root.parent
    (tmp_path / "bare.yaml").write_text(f"rate: 10\ntest: [{data / 'ride'}, {data / 'walk'}]\n")
    root = f"root={tmp_path / 'bare.yaml'}"
    status, _, err = run("dataset=custom", root, f"model={bench.model}", f"output={tmp_path}")
    assert status == 1
    assert "bare: no test clip has labels" in err


def test_features_of_another_detector_are_refused(run, words, bench, tmp_path: Path) -> None:
    other = tmp_path / "model"
    shutil.copytree(bench.model, other)
    config = json.loads((other / "config.json").read_text())
    config["feature_id"] = "another"
    from tao_anomaly.model.artifact import _identify

    config["model_id"] = _identify(config)
    (other / "config.json").write_text(json.dumps(config))
    status, _, err = run(*words, f"model={other}", f"output={tmp_path}")
    assert status == 1
    assert "another" in err
    assert "synthetic" in err


def test_the_script_runs_from_anywhere(tmp_path: Path) -> None:
    script = REPOSITORY / "benchmarks" / "evaluate.py"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, str(script), "--help"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "detections=''" in shown.stdout
    assert "pipeline.windows.length=16" in shown.stdout


def test_a_report_shows_the_numbers_of_the_evaluation(results: Path) -> None:
    page = write_page(ReportConfig(source=str(results / "all"), output=str(results / "page.html")))
    text = page.read_text("utf-8")
    shown = json.loads(text.split('id="data">')[1].split("</script>")[0])
    document = json.loads((results / "all.json").read_text("utf-8"))
    assert shown["rows"] == document["rows"]
    assert shown["protocol"] == document["protocol"]
    own = document["rows"][0]["metrics"]
    facts = {fact["label"]: fact["value"] for fact in shown["facts"]}
    assert facts["RBDC"] == f"{100 * own['rbdc']:.1f} %"
    assert facts["Frames"] == "20"
    for row in document["rows"]:
        curves, metrics = shown["curves"][row["name"]], row["metrics"]
        swept = curves["region_track"]
        assert np.trapezoid(swept["rbdr"], swept["fpr"]) == pytest.approx(metrics["rbdc"], abs=1e-5)
        assert np.trapezoid(swept["tbdr"], swept["fpr"]) == pytest.approx(metrics["tbdc"], abs=1e-5)
        area = np.trapezoid(curves["roc"]["tpr"], curves["roc"]["fpr"])
        assert area == pytest.approx(metrics["frame"]["micro_auc"], abs=1e-5)
    clips = {clip["name"]: clip for clip in shown["clips"]}
    assert clips["ride"]["anomalous"] == [[4, 7]]
    assert clips["walk"]["anomalous"] == []
    event = shown["events"][0]
    assert (event["clip"], event["class"], event["labelled"]) == ("ride", "bicycle", True)
    assert sum(event["contributions"]) == pytest.approx(event["score"], abs=2e-4)
    assert event["thumbnail"].startswith("data:image/jpeg")
    nearest = event["evidence"]["neighbours"]
    assert event["evidence"]["steps"] is None  # the baseline hides no steps
    distances = [entry["distance"] for entry in nearest]
    assert 0 < distances[0] <= distances[-1] == max(distances)
    places = json.loads((results / "all" / "details.json").read_text("utf-8"))["evidence"]
    found = next(e for e in places if (e["clip"], e["event"]) == (event["clip"], event["name"]))
    assert [entry["distance"] for entry in found["neighbours"]] == distances
    assert all(entry["clip"].startswith("normal") for entry in found["neighbours"])
    assert [entry["place"] for entry in nearest] == [
        f"{entry['clip']}, frame {entry['frame']}" for entry in found["neighbours"]
    ]
    assert all(entry["image"].startswith("data:image/jpeg") for entry in nearest)
