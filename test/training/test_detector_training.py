"""The training of the embedded detector: its labels, its measure, and one tiny run."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.datasets.plaza.generate import PlazaConfig, scenes
from tao_anomaly.datasets.plaza.renderer import Rendered
from tao_anomaly.detection.exported import parse
from tao_anomaly.structures import Detections
from training import plaza_images, train_detector
from training.detector_quality import matched


def test_labels_are_class_centre_and_size_in_shares_of_the_image() -> None:
    ids = np.zeros((10, 20), np.uint16)
    ids[2:6, 5:10] = 3  # y 2 .. 6 of 10, x 5 .. 10 of 20
    ids[9, 19] = 7
    rendered = Rendered(np.zeros((10, 20, 3), np.uint8), ids)
    rows = plaza_images.label_rows(rendered, {3: "cart", 7: "ball"}).splitlines()
    assert rows == [
        "2 0.375000 0.400000 0.250000 0.400000",
        "4 0.975000 0.950000 0.050000 0.100000",
    ]


def test_the_detector_shares_no_scene_with_generated_footage() -> None:
    used = {
        scene.seed
        for split in plaza_images.SEEDS
        for scene in islice(plaza_images.split_scenes(split), 3)
    }
    config = PlazaConfig(seed=1000, seconds=1, train_clips=1, test_clips=1)
    generated = {scene.seed for _, _, scene in scenes(config)}
    assert len(used) == 6
    assert min(used) > 1e12 > max(generated)


def test_an_object_is_found_once_and_by_its_own_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    found = Detections(
        boxes=np.array(
            [[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10], [20, 0, 30, 4], [20, 4, 30, 10]],
            np.float32,
        ),
        scores=np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32),
        class_ids=np.array([0, 0, 0, 1, 1]),
    )
    # Taken; the same again; another class; IoU 0.4; IoU 0.6.
    assert matched(found, boxes, np.array([0, 1])).tolist() == [True, False, False, False, True]
    none = np.zeros((0, 4), np.float32)
    assert not matched(found, none, np.zeros(0, np.int64)).any()


def test_a_tiny_run_writes_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plaza_images, "SIZE", (64, 36))
    words = [f"output={tmp_path}", "images=4", "epochs=1", "width=0.0625", "input_size=64"]
    monkeypatch.setattr(sys, "argv", ["train", *words, "threads=1"])
    assert train_detector.main() == 0
    exported = parse((tmp_path / "plaza.onnx").read_bytes(), name="")
    assert exported.class_names == plaza_images.CLASS_NAMES
    assert exported.channels == (16, 32, 64)
    assert len(list((tmp_path / "dataset" / "labels").glob("*.txt"))) == 4
