"""The metrics of every row, on a dataset small enough to compute them by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from tao_anomaly.datasets.dataset import TEST
from tao_anomaly.datasets.registry import load_dataset
from tao_anomaly.detection.ultralytics_adapter import import_ultralytics
from tao_anomaly.evaluation.measure import PixelRows
from tao_anomaly.evaluation.pixel_map import BoxFill, FadingBox
from tao_anomaly.evaluation.scored_clip import ScoredClip
from tao_anomaly.metrics.regions import ScoredBoxes
from tao_anomaly.structures import Frame


def test_class_rule_by_hand(rows_of, results: Path) -> None:
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
    assert found["operating_point"] is None
    assert found["pixel"]["drawn_as"] == FadingBox.note


def test_pixels_of_whole_boxes_by_hand(rows_of, run, words, bench, tmp_path: Path) -> None:
    given = (*words, f"model={bench.model}", f"output={tmp_path}", "name=whole", "pixels=box")
    status, _, err = run(*given)
    assert status == 0, err
    found = rows_of(tmp_path, "whole")["class rule"]
    normal_pixels = 20 * 60 * 40 - 4 * 100
    assert found["pixel"]["auroc"] == pytest.approx(1 - 6 * 100 / 2 / normal_pixels, abs=1e-12)
    assert found["pixel"]["average_precision"] == pytest.approx(400 / 1000, abs=1e-12)
    assert found["pixel_tao"]["auroc"] == 1.0


def test_oracles_show_what_the_proposals_allow(rows_of, results: Path) -> None:
    rows = rows_of(results)
    assert (rows["oracle, tracked boxes"]["rbdc"], rows["oracle, tracked boxes"]["tbdc"]) == (1, 1)
    assert rows["oracle, all boxes"]["rbdc"] == 0.25  # the detector's boxes miss 3 of 4 regions
    assert rows["oracle, all boxes"]["tbdc"] == 1


def test_box_speed_and_neighbours_find_the_bicycle(rows_of, results: Path) -> None:
    rows = rows_of(results)
    for name in ("box speed", "nearest neighbours"):
        assert rows[name]["rbdc"] == pytest.approx(0.85, abs=1e-12), name


def test_model_scores_causally_and_at_its_threshold(rows_of, results: Path) -> None:
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


def test_pixel_maps_of_a_segmenting_detector(rows_of, run, words, bench, tmp_path: Path) -> None:
    # Randomly initialised weights in the format of a checkpoint: the way there, not the quality.
    ultralytics = import_ultralytics()
    torch.manual_seed(0)
    network = ultralytics.nn.tasks.SegmentationModel("yolov8n-seg.yaml", verbose=False)
    network.names = {i: str(i) for i in range(80)}
    torch.save({"model": network.half()}, tmp_path / "yolov8n-seg.pt")
    given = (
        *words,
        f"model={bench.model}",
        f"output={tmp_path}",
        "name=drawn",
        "pixels=instance",
        f"mask_weights={tmp_path / 'yolov8n-seg.pt'}",
        "pipeline.detector.threads=1",
        "limit=1",
    )
    status, _, err = run(*given)
    assert status == 1
    assert "yolov8n-seg.pt: got SHA-256" in err
    assert "set mask_weights_sha256 to this hash" in err
    status, _, err = run(*given, "mask_weights_sha256=any")
    assert status == 0, err
    rows = rows_of(tmp_path, "drawn")
    own = rows["cues (this model)"]["pixel"]
    assert own["drawn_as"] == "instance masks"
    assert rows["class rule"]["pixel"]["drawn_as"] == FadingBox.note
    assert own["frames"] == rows["class rule"]["pixel"]["frames"] == 10


def test_foreground_draws_every_row_alike(rows_of, run, words, bench, tmp_path: Path) -> None:
    given = (*words, f"model={bench.model}", f"output={tmp_path}", "name=moving")
    status, _, err = run(*given, "pixels=foreground")
    assert status == 0, err
    given = (*words, f"model={bench.model}", f"output={tmp_path}", "name=filled")
    status, _, err = run(*given, "pixels=box")
    assert status == 0, err
    rows, whole = rows_of(tmp_path, "moving"), rows_of(tmp_path, "filled")
    assert rows.keys() == whole.keys()
    for name, row in rows.items():
        drawn_as = row["pixel"].pop("drawn_as")
        assert drawn_as == "what moves inside each box, 0.25 of the score in the rest of it"
        assert whole[name]["pixel"].pop("drawn_as") == "whole boxes"
        assert row["pixel"] == whole[name]["pixel"]  # nothing moves in the images


class Recorder(BoxFill):
    """Notes what it is told."""

    needs_image = True

    def __init__(self) -> None:
        self.told: list[int | str] = []

    def reset(self) -> None:
        self.told.append("reset")

    def see(self, frame: Frame) -> None:
        self.told.append(frame.index)


def test_an_outliner_sees_each_image_once_and_begins_anew_with_a_clip(bench) -> None:
    recorder = Recorder()
    rows = PixelRows(["first", "second"], outliner=recorder, outlined=["first", "second"])
    nothing = ScoredClip(ScoredBoxes.empty())
    for clip in load_dataset("custom", bench.root, cache=None).split(TEST):
        rows.update(clip, {"first": nothing, "second": nothing})
    assert recorder.told == ["reset", *range(10), "reset", *range(10)]


def test_metrics_of_a_result_are_finite_json(rows_of, results: Path) -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                check(inner)
        elif isinstance(value, float):
            assert math.isfinite(value)

    for metrics in rows_of(results).values():
        check(metrics)
