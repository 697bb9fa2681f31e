"""The evaluation of a dataset that tells the kind of each anomaly."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tao_anomaly.datasets.plaza.generate import PlazaConfig, generate
from tao_anomaly.datasets.registry import load_dataset
from tao_anomaly.evaluation.command import main
from tao_anomaly.metrics.regions import ScoredBoxes
from tao_anomaly.metrics.text_formats import write_detections

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.yaml"
RATE = 4.0
LATE = 3  # frames


def test_one_kind_found_late_and_the_others_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "plaza"
    generate(
        PlazaConfig(
            output=str(root),
            train_clips=0,
            test_clips=1,
            seconds=8,
            rate=RATE,
            width=160,
            height=90,
        )
    )
    (clip,) = load_dataset("plaza", root).clips
    truth = clip.regions
    assert truth is not None
    assert clip.labels is not None
    kinds = clip.labels.kinds
    track = next(track for track, kind in kinds.items() if kind == "cyclist")
    own = truth.track_ids == track
    assert own.sum() > LATE
    scores = (truth.frames[own] >= truth.frames[own].min() + LATE).astype(float)
    boxes = ScoredBoxes(truth.frames[own], truth.boxes[own], scores)
    write_detections(tmp_path / "found", {clip.name: boxes})
    words = [f"detections={tmp_path / 'found'}", "threshold=0.5", f"output={tmp_path}"]
    words += ["dataset=plaza", f"root={root}", "name=kinds", "date=2000-01-01"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
    assert main(PUBLISHED) == 0
    (row,) = json.loads((tmp_path / "kinds.json").read_text("utf-8"))["rows"]
    found = row["metrics"]["kinds"]
    assert set(found) == set(kinds.values())
    assert len(found) >= 2
    cyclist = found.pop("cyclist")
    assert cyclist["regions"] == own.sum()
    assert (cyclist["rbdc"], cyclist["tbdc"]) == (1, 1)
    assert (cyclist["alarmed"], cyclist["delay"]) == (1, LATE / RATE)
    for other in found.values():
        assert (other["rbdc"], other["alarmed"], other["delay"]) == (0, 0, None)
    page = (tmp_path / "kinds.md").read_text("utf-8")
    assert "100.0 / 100.0; 1 of 1, 0.8 s" in page
