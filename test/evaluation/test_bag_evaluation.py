from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.evaluation.command import main
from tao_anomaly.fit import FitConfig, extract, fit, open_clips
from tao_anomaly.pipeline import Perception

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.yaml"
FRAMES, FIRST = 8, 100  # of Test001: a bicycle is anomalous in all of them
RATE = 10.0
SETTINGS = {"input_size": 320, "threads": 1}


def write_image_bag(folder: Path, images: list[Path], plugin: StoragePlugin) -> None:
    """Record images as sensor_msgs/Image, stamped at RATE from a late start."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    header, time = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection("/image_raw", "sensor_msgs/msg/Image", typestore=store)
        for index, path in enumerate(images):
            pixels = cv2.imread(str(path))
            stamp = 1_700_000_000 * 10**9 + round(index * 10**9 / RATE)
            message = types["sensor_msgs/msg/Image"](
                header=header(stamp=time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="c"),
                height=pixels.shape[0],
                width=pixels.shape[1],
                encoding="bgr8",
                is_bigendian=0,
                step=pixels.shape[1] * 3,
                data=pixels.reshape(-1),
            )
            writer.write(connection, stamp, store.serialize_cdr(message, message.__msgtype__))


@pytest.fixture(scope="module")
def footage(ped2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of bags: the same frames as mcap, sqlite3 and a folder of images, with masks."""
    root = tmp_path_factory.mktemp("bags")
    clip = ped2 / "Test" / "Test001"
    images = [clip / f"{i:03d}.jpg" for i in range(FIRST, FIRST + FRAMES)]
    (root / "folder").mkdir()
    (root / "masks").mkdir()
    for image in images:
        shutil.copy(image, root / "folder")
        shutil.copy(clip.with_name("Test001_gt") / f"{image.stem}.png", root / "masks")
    write_image_bag(root / "mcap", images, StoragePlugin.MCAP)
    write_image_bag(root / "sqlite3", images, StoragePlugin.SQLITE3)
    (root / "bags.yaml").write_text(
        "name: bags\ntest:\n"
        "  - {source: mcap, masks: masks}\n"
        "  - {source: sqlite3, masks: masks}\n"
        f"  - {{source: folder, masks: masks, rate: {RATE}}}\n"
    )
    return root


@pytest.fixture(scope="module")
def model(ped2: Path, weights: Path, footage: Path) -> Path:
    """Nearest neighbours of a few normal frames, seen through the real detector."""
    config = PipelineConfig(detector=DetectorConfig(weights=str(weights), **SETTINGS))
    normal = footage / "normal"
    for name in ("Train001", "Train002", "Train003"):
        (normal / name).mkdir(parents=True)
        for i in range(1, 9):
            shutil.copy(ped2 / "Train" / name / f"{i:03d}.jpg", normal / name)
    perception = Perception.from_config(config, detector=Detector.from_config(config.detector))
    clips = open_clips(str(normal), rate=RATE, topic=None)
    output = footage / "model"
    fit(extract(clips, perception), perception, FitConfig(output=str(output), pipeline=config))
    return output


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
    return main(PUBLISHED)


def test_bags_are_evaluated_frame_by_frame_and_reproducibly(
    footage: Path,
    model: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out"
    words = [
        "dataset=custom",
        f"root={footage / 'bags.yaml'}",
        f"model={model}",
        f"output={output}",
        f"store={tmp_path / 'store'}",
        f"pipeline.detector.weights={weights}",
        *(f"pipeline.detector.{key}={value}" for key, value in SETTINGS.items()),
        "date=2000-01-01",
        "name=bags",
    ]
    written = []
    for _ in range(2):  # the second run extracts everything anew
        shutil.rmtree(output, ignore_errors=True)
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        assert run(monkeypatch, *words) == 0
        files = sorted(path for path in output.rglob("*") if path.is_file())
        written.append({str(f.relative_to(output)): f.read_bytes() for f in files})
    assert written[0] == written[1]

    document = json.loads(written[0]["bags.json"])
    assert document["protocol"]["Test clips"] == f"3 clips, {3 * FRAMES} frames"
    assert document["protocol"]["Frames processed"] == f"{3 * FRAMES}, 0 skipped"
    assert document["protocol"]["Fitted baselines"] == "none: no train split"
    clips = [written[0][f"bags/detections/{name}.txt"] for name in ("mcap", "sqlite3", "folder")]
    assert clips[0] == clips[1] == clips[2]
    frames = np.loadtxt(clips[0].decode().splitlines(), delimiter=",", ndmin=2)[:, 0]
    assert set(frames.tolist()) <= set(range(FRAMES))
    assert len(set(frames.tolist())) >= FRAMES - 2  # every frame, but for those without a score
    rows = {row["name"]: row["metrics"] for row in document["rows"]}
    assert rows["oracle, all boxes"]["rbdc"] == 1.0  # the detector sees the bicycle
    assert rows["oracle, all boxes"]["regions"] == 3 * FRAMES
    assert "nearest neighbours" not in rows


def test_a_detector_that_makes_other_features_is_refused_before_the_work(
    footage: Path,
    model: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = run(
        monkeypatch,
        "dataset=custom",
        f"root={footage / 'bags.yaml'}",
        f"model={model}",
        f"output={tmp_path}",
        f"store={tmp_path / 'store'}",
        f"pipeline.detector.weights={weights}",
        "pipeline.detector.input_size=160",
    )
    assert status == 1
    assert "as the model was fitted on; use its detector weights and settings" in (
        capsys.readouterr().err
    )
    assert not list((tmp_path / "store").rglob("*.parquet"))
