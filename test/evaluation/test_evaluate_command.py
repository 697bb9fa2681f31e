from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_anomaly.detection.ultralytics_adapter import import_ultralytics
from tao_anomaly.evaluation.command import main
from tao_anomaly.metrics import region_track
from tao_anomaly.report import ReportConfig
from tao_anomaly.report import write_report as write_page

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED = REPOSITORY / "benchmarks" / "published.yaml"
DATE = "date=2000-01-01"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command with words; return status, standard output and error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
        status = main(PUBLISHED)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def words(bench) -> tuple[str, ...]:
    return ("dataset=custom", f"root={bench.root}", f"store={bench.store}", DATE)


@pytest.fixture
def results(run, words, bench, tmp_path: Path) -> Path:
    """Results of the model, all rows."""
    status, _, err = run(*words, f"model={bench.model}", f"output={tmp_path}", "name=all")
    assert status == 0, err
    return tmp_path


def rows_of(results: Path, name: str = "all") -> dict[str, dict]:
    document = json.loads((results / f"{name}.json").read_text("utf-8"))
    return {row["name"]: row["metrics"] for row in document["rows"]}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_class_rule_by_hand(results: Path) -> None:
    found = rows_of(results)["class rule"]
    # At 0.9 all 4 regions are found with 6 false positives in 20 frames; the persons' 20 boxes at
    # 0 leap over one false positive a frame.
    assert found["rbdc"] == pytest.approx(0.3 / 2 + 0.7, abs=1e-12)
    assert found["tbdc"] == pytest.approx(0.3 / 2 + 0.7, abs=1e-12)
    assert (found["regions"], found["tracks"], found["frames"]) == (4, 1, 20)
    # 16 normal frames: 6 tie with the anomalous ones, 10 are below.
    assert found["frame"]["micro_auc"] == pytest.approx((10 + 6 / 2) / 16, abs=1e-12)
    assert found["frame"]["macro_auc"] == pytest.approx(0.5, abs=1e-12)
    assert found["frame"]["excluded_from_macro"] == ["walk"]
    normal_pixels = 20 * 60 * 40 - 4 * 100
    assert found["pixel"]["auroc"] == pytest.approx(1 - 6 * 100 / 2 / normal_pixels, abs=1e-12)
    assert found["pixel"]["average_precision"] == pytest.approx(400 / 1000, abs=1e-12)
    assert found["pixel_tao"]["auroc"] == 1.0
    assert found["operating_point"] is None


def test_oracles_show_what_the_proposals_allow(results: Path) -> None:
    rows = rows_of(results)
    assert (rows["oracle, tracked boxes"]["rbdc"], rows["oracle, tracked boxes"]["tbdc"]) == (1, 1)
    assert rows["oracle, all boxes"]["rbdc"] == 0.25  # the detector's boxes miss 3 of 4 regions
    assert rows["oracle, all boxes"]["tbdc"] == 1


def test_box_speed_and_neighbours_find_the_bicycle(results: Path) -> None:
    rows = rows_of(results)
    for name in ("box speed", "nearest neighbours"):
        assert rows[name]["rbdc"] == pytest.approx(0.85, abs=1e-12), name


def test_model_scores_causally_and_at_its_threshold(results: Path) -> None:
    found = rows_of(results)["cues (this model)"]
    boxes = (results / "all" / "detections" / "ride.txt").read_text().splitlines()
    bicycle = [line for line in boxes if line.split(",")[1] == "10.0"]
    assert [int(line.split(",")[0]) for line in bicycle] == list(range(10))
    # By its outer edges the box is 10, 5, 20, 15.
    assert bicycle[0].split(",")[1:5] == ["10.0", "5.0", "19.0", "14.0"]
    # A speed told by few observations counts less and the mean lags, so that the bicycle's score
    # rises: of its normal frames, 8 and 9 are above the anomalous 4 to 7.
    scores = [float(line.split(",")[5]) for line in bicycle]
    assert scores == sorted(scores)
    assert found["rbdc"] == pytest.approx(1 - 2 / 20, abs=1e-12)
    point = found["operating_point"]["region_f1"]
    assert (point["correct"], point["raised"], point["present"]) == (4, 10, 4)
    assert found["operating_point"]["track_f1"]["recall"] == 1.0


def test_offline_smoothing_is_a_row_of_its_own(results: Path) -> None:
    document = json.loads((results / "all.json").read_text("utf-8"))
    causal = {row["name"]: row["causal"] for row in document["rows"]}
    assert [name for name, is_causal in causal.items() if not is_causal] == [
        "cues (this model), offline smoothing"
    ]


def test_detections_evaluated_alone_give_the_same(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "all"
    region_track.main(
        [str(folder / "ground_truth"), str(folder / "detections"), "--num-frames", "20"]
    )
    alone = json.loads(capsys.readouterr().out)
    found = rows_of(results)["cues (this model)"]
    assert alone == {name: found[name] for name in alone}
    assert set(alone) == {"rbdc", "tbdc", "regions", "tracks", "frames"}


def test_detections_of_elsewhere_get_the_same_metrics(
    run, words, results: Path, tmp_path: Path
) -> None:
    given = results / "all" / "detections"
    threshold = json.loads((results / "all.json").read_text("utf-8"))["protocol"]
    value = threshold["Scale and threshold"].partition("threshold ")[2].split()[0]
    status, _, err = run(
        *words, f"detections={given}", f"output={tmp_path}", "name=again", f"threshold={value}"
    )
    assert status == 0, err
    again, before = rows_of(tmp_path, "again"), rows_of(results)
    own = before["cues (this model)"]
    for key in ("rbdc", "tbdc", "frame", "pixel", "pixel_tao"):
        assert again["detections"][key] == own[key]
    assert (
        again["detections"]["operating_point"]["region_f1"] == own["operating_point"]["region_f1"]
    )
    assert again["detections"]["operating_point"]["track_f1"] is None  # the files name no tracks
    assert again["class rule"] == before["class rule"]


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
    assert all(f"- {key}: {value}" in text for key, value in protocol.items())


def test_limit_is_marked_as_no_result(run, words, bench, tmp_path: Path) -> None:
    ours = (*words, f"model={bench.model}", f"output={tmp_path}", "name=one", "limit=1")
    status, _, err = run(*ours)
    assert status == 0, err
    document = json.loads((tmp_path / "one.json").read_text("utf-8"))
    assert document["protocol"]["Test clips"].endswith("not a result to compare")
    assert document["rows"][0]["metrics"]["frames"] == 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("4,10,5,19,14,nan", "ride.txt, line 2: the score must be finite"),
        ("4,10,5,19,14", "ride.txt, line 2: expected 6 numbers"),
        ("10,10,5,19,14,1", "ride.txt, line 2: the clip has 10 frames"),
        ("4.5,10,5,19,14,1", "ride.txt, line 2: the frame must be a whole number"),
        ("4,19,5,10,14,1", "ride.txt, line 2: a box needs x1 <= x2"),
    ],
)
def test_malformed_detections_are_refused_by_file_and_line(
    run, words, tmp_path: Path, text: str, problem: str
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "ride.txt").write_text(f"9,0,0,5,5,0.5\n{text}\n0,0,0,5,5,0.5\n")
    status, _, err = run(*words, f"detections={given}", f"output={tmp_path}")
    assert status == 1
    assert problem in err
    assert not (tmp_path / "custom_given.json").exists()


def test_odd_but_lawful_detections_are_evaluated(run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    # Unsorted, twice the same, outside the image, and no file for the other clip.
    (given / "ride.txt").write_text("7,-9,5,19,14,2\n4,10,5,19,14,1\n4,10,5,19,14,1\n")
    status, _, err = run(*words[:2], f"detections={given}", f"output={tmp_path}", "name=odd")
    assert status == 0, err
    rows = rows_of(tmp_path, "odd")
    assert list(rows) == ["given"]  # without a store there is no baseline
    assert rows["given"]["rbdc"] == 0.5
    assert rows["given"]["operating_point"] is None
    assert (given / "ride.txt").read_text().startswith("7,-9")


def test_empty_detections_score_nothing(run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "ride.txt").write_text("")
    assert run(*words[:2], f"detections={given}", f"output={tmp_path}", "name=none")[0] == 0
    found = rows_of(tmp_path, "none")["given"]
    assert (found["rbdc"], found["tbdc"], found["frame"]["micro_auc"]) == (0, 0, 0.5)


def test_a_file_of_no_clip_is_refused(run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "rid.txt").write_text("")
    status, _, err = run(*words, f"detections={given}", f"output={tmp_path}")
    assert status == 1
    assert "got rid" in err
    assert "ride, walk" in err


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


def test_pixel_maps_of_a_segmenting_detector(run, words, bench, tmp_path: Path) -> None:
    # Randomly initialised weights in the format of a checkpoint: the way there, not the quality.
    ultralytics = import_ultralytics()
    torch.manual_seed(0)
    network = ultralytics.nn.tasks.SegmentationModel("yolov8n-seg.yaml", verbose=False)
    network.names = {i: str(i) for i in range(80)}
    torch.save({"model": network.half()}, tmp_path / "yolov8n-seg.pt")
    status, _, err = run(
        *words,
        f"model={bench.model}",
        f"output={tmp_path}",
        "name=drawn",
        "pixels=instance",
        f"mask_weights={tmp_path / 'yolov8n-seg.pt'}",
        "mask_weights_sha256=any",
        "pipeline.detector.threads=1",
        "limit=1",
    )
    assert status == 0, err
    rows = rows_of(tmp_path, "drawn")
    own = rows["cues (this model)"]["pixel"]
    assert own["drawn_as"] == "instance masks"
    assert rows["class rule"]["pixel"]["drawn_as"] == "whole boxes"
    assert own["frames"] == rows["class rule"]["pixel"]["frames"] == 10


def test_a_dataset_without_labels_is_refused(run, bench, tmp_path: Path) -> None:
    data = bench.root.parent
    (tmp_path / "bare.yaml").write_text(f"rate: 10\ntest: [{data / 'ride'}, {data / 'walk'}]\n")
    root = f"root={tmp_path / 'bare.yaml'}"
    status, _, err = run("dataset=custom", root, f"model={bench.model}", f"output={tmp_path}")
    assert status == 1
    assert "bare: no test clip has labels" in err


def test_regions_without_masks_leave_the_pixel_metrics_open(run, bench, tmp_path: Path) -> None:
    (tmp_path / "ride.txt").write_text("".join(f"1,{i},10,5,19,14\n" for i in range(4, 8)))
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "ride.txt").write_text("5,10,5,19,14,1\n")
    (tmp_path / "boxes.yaml").write_text(
        f"rate: 10\ntest: [{{source: {bench.root.parent / 'ride'}, tracks: ride.txt}}]\n"
    )
    words = ("dataset=custom", f"root={tmp_path / 'boxes.yaml'}", f"output={tmp_path}")
    status, _, err = run(*words, f"detections={tmp_path / 'given'}", "name=boxes")
    assert status == 0, err
    found = rows_of(tmp_path, "boxes")["given"]
    assert (found["rbdc"], found["tbdc"]) == (0.25, 1.0)
    assert found["pixel"] is None
    assert "No row has one." in (tmp_path / "boxes.md").read_text("utf-8")


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


def test_metrics_of_a_result_are_finite_json(results: Path) -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                check(inner)
        elif isinstance(value, float):
            assert math.isfinite(value)

    for metrics in rows_of(results).values():
        check(metrics)


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


def test_a_report_of_given_detections_has_curves_alone(run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "ride.txt").write_text("4,10,5,19,14,2\n")
    assert run(*words[:2], f"detections={given}", f"output={tmp_path}", "name=one")[0] == 0
    page = write_page(ReportConfig(source=str(tmp_path / "one"), output=str(tmp_path / "p.html")))
    shown = json.loads(page.read_text("utf-8").split('id="data">')[1].split("</script>")[0])
    assert (shown["events"], shown["tracks"], shown["tail"]) == ([], [], None)
    assert shown["rows"][0]["metrics"]["rbdc"] == 0.25
