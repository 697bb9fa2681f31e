from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.datasets.dataset import Clip, Dataset, DatasetError
from tao_anomaly.datasets.registry import load_dataset
from tao_anomaly.extraction import extract_clips
from tao_anomaly.media.clip_file import StoreError
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.media.source import open_source
from tao_anomaly.pipeline import Perception
from tao_anomaly.windows import FeatureMismatchError
from training.extract import ExtractConfig, chosen_clips, extract

REPOSITORY = Path(__file__).resolve().parents[2]
FRAMES = 6


@pytest.fixture(scope="module")
def config(shared: Path) -> PipelineConfig:
    weights = shared / "weights/yolov8n_coco.pt"
    return PipelineConfig(detector=DetectorConfig(weights=str(weights), input_size=160, threads=1))


@pytest.fixture(scope="module")
def dataset(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three clips of a few frames of Ped2; the second begins with a frame without objects."""
    root = tmp_path_factory.mktemp("footage")
    for name, first in (("a", 1), ("b", 20), ("c", 40)):
        (root / name).mkdir()
        for i in range(FRAMES):
            path = shared / f"data/UCSDped2/Train/Train003/{first + i:03d}.jpg"
            image = cv2.imread(str(path))
            if (name, i) == ("b", 0):
                image = np.zeros_like(image)
            cv2.imwrite(str(root / name / f"{i}.png"), image)
    (root / "d.yaml").write_text("name: mini\ntrain: [a, b, c]\n")
    return load_dataset("custom", root / "d.yaml")


def all_clips(dataset: Dataset) -> list[tuple[str, Clip]]:
    return [(dataset.name, clip) for clip in dataset.clips]


@pytest.fixture(scope="module")
def unbroken(
    dataset: Dataset, config: PipelineConfig, tmp_path_factory: pytest.TempPathFactory
) -> FeatureStore:
    folder = tmp_path_factory.mktemp("unbroken")
    return extract_clips(folder, all_clips(dataset), config=config, precision="float32")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_store_holds_what_perception_gives(
    unbroken: FeatureStore, dataset: Dataset, config: PipelineConfig
) -> None:
    assert unbroken.clips() == ["mini/a", "mini/b", "mini/c"]
    perception = Perception.from_config(config)
    source = open_source(dataset.clip("b").source, rate=10.0)
    expected = [perception.process(frame) for frame in source]
    assert unbroken.frames("mini/b").tolist() == list(range(FRAMES))
    got = unbroken.read("mini/b")
    assert len(got[0].tracks) == 0
    assert sum(len(f.tracks) for f in got) > 0
    for one, other in zip(got, expected, strict=True):
        assert other is not None
        assert one.tracks.ids == other.tracks.ids
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.tracks.boxes, other.tracks.boxes)
        assert (one.stamp_ns, one.image_size) == (other.stamp_ns, other.image_size)


def test_killed_and_started_again_it_loses_and_repeats_no_clip(
    unbroken: FeatureStore, dataset: Dataset, config: PipelineConfig, tmp_path: Path
) -> None:
    words = [
        f"output={tmp_path}",
        "dataset=custom",
        f"root={dataset.root / 'd.yaml'}",
        "precision=float32",
        f"pipeline.detector.weights={config.detector.weights}",
        "pipeline.detector.input_size=160",
        "pipeline.detector.threads=1",
    ]
    command = [sys.executable, "-m", "training.extract", *words]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("mini/.b.parquet.*.unfinished")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    held = FeatureStore(tmp_path).clips()
    # On a busy machine the second clip may end before the signal arrives.
    assert held in (["mini/a"], ["mini/a", "mini/b"])
    first = (tmp_path / "mini/a.parquet").stat()
    extract_clips(tmp_path, all_clips(dataset), config=config, precision="float32")
    assert contents(tmp_path) == contents(unbroken.folder)
    assert (tmp_path / "mini/a.parquet").stat().st_mtime_ns == first.st_mtime_ns


@pytest.mark.parametrize(("engine", "workers"), [("local", 2), ("ray", 1)])
def test_engines_store_the_same_bytes(
    unbroken: FeatureStore,
    dataset: Dataset,
    config: PipelineConfig,
    tmp_path: Path,
    engine: str,
    workers: int,
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    clips = all_clips(dataset)
    store = extract_clips(
        tmp_path, clips, config=config, precision="float32", engine=engine, workers=workers
    )
    for clip in store.clips():
        for one, other in zip(store.read(clip), unbroken.read(clip), strict=True):
            np.testing.assert_array_equal(one.features, other.features)
    assert contents(tmp_path) == contents(unbroken.folder)


def test_a_batch_changes_nothing_but_rounding(
    unbroken: FeatureStore, dataset: Dataset, config: PipelineConfig, tmp_path: Path
) -> None:
    """A clip of 6 images in batches of 4 and 2; appearance is rounded to steps of float16."""
    store = extract_clips(tmp_path, all_clips(dataset), config=config, precision="float32", batch=4)
    assert store.clips() == unbroken.clips()
    for clip in store.clips():
        for one, other in zip(store.read(clip), unbroken.read(clip), strict=True):
            assert one.tracks.ids == other.tracks.ids
            np.testing.assert_allclose(one.tracks.boxes, other.tracks.boxes, atol=0.01)
            np.testing.assert_allclose(one.features, other.features, rtol=1e-3, atol=1e-3)


def test_a_clip_that_cannot_be_read_does_not_cost_the_others(
    dataset: Dataset, config: PipelineConfig, tmp_path: Path
) -> None:
    class Failing(Clip):
        frame_count = 1

    bad = Failing(name="bad", split="train", source=tmp_path / "nowhere.avi")
    clips = [("mini", bad), ("mini", dataset.clip("a"))]
    with pytest.raises(StoreError, match=r"1 clips could not be extracted: mini/bad: .*not found"):
        extract_clips(tmp_path / "store", clips, config=config, precision="float16")
    assert FeatureStore(tmp_path / "store").clips() == ["mini/a"]


def test_skipped_images_are_counted_and_keep_their_number(
    dataset: Dataset, config: PipelineConfig, tmp_path: Path
) -> None:
    images = sorted(dataset.clip("a").source.iterdir())[:3]
    (tmp_path / "clip").mkdir()
    for i, path in enumerate(images):
        content = path.read_bytes() if i != 1 else b"no image"
        (tmp_path / "clip" / path.name).write_bytes(content)
    clip = Clip(name="clip", split="test", source=tmp_path / "clip", stated_rate=10.0)
    store = extract_clips(tmp_path / "s", [("mini", clip)], config=config, precision="float16")
    assert store.frames("mini/clip").tolist() == [0, 2]
    assert store.infos["mini/clip"].skipped == {"unreadable image": 1}


def test_another_detector_setting_is_refused_before_any_work(
    unbroken: FeatureStore, dataset: Dataset, config: PipelineConfig
) -> None:
    before = contents(unbroken.folder)
    other = PipelineConfig(
        detector=DetectorConfig(weights=config.detector.weights, input_size=192, threads=1)
    )
    with pytest.raises(FeatureMismatchError, match=f"holds {unbroken.feature_id}; .*another"):
        extract_clips(unbroken.folder, all_clips(dataset), config=other, precision="float32")
    other = PipelineConfig(
        detector=DetectorConfig(
            weights=config.detector.weights, input_size=160, threads=1, confidence=0.5
        )
    )
    with pytest.raises(StoreError, match=r"detector.confidence: got 0.5, the store has 0.05"):
        extract_clips(unbroken.folder, all_clips(dataset), config=other, precision="float32")
    with pytest.raises(StoreError, match="expected one of local, ray"):
        extract_clips(
            unbroken.folder, all_clips(dataset), config=config, precision="float32", engine="dask"
        )
    assert contents(unbroken.folder) == before


def test_footage_is_a_dataset_of_normal_clips(dataset: Dataset, shared: Path) -> None:
    clips = chosen_clips(ExtractConfig(source=str(dataset.root), rate=5.0))
    assert [(name, clip.name, clip.rate) for name, clip in clips] == [
        ("footage", "a", 5.0),
        ("footage", "b", 5.0),
        ("footage", "c", 5.0),
    ]
    video = ExtractConfig(source=str(shared / "data/vtest.avi"), name="car_park")
    ((name, clip),) = chosen_clips(video)
    assert (name, clip.name, clip.rate, clip.frame_count) == ("car_park", "vtest", 10.0, 795)


def test_splits_are_chosen(dataset: Dataset) -> None:
    root = str(dataset.root / "d.yaml")
    assert len(chosen_clips(ExtractConfig(dataset="custom", root=root, splits=["train"]))) == 3
    with pytest.raises(DatasetError, match="got split 'test'"):
        chosen_clips(ExtractConfig(dataset="custom", root=root, splits=["test"]))
    with pytest.raises(DatasetError, match="give either dataset"):
        chosen_clips(ExtractConfig())


def test_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="give output="):
        extract(ExtractConfig(source="/nowhere"))
    with pytest.raises(ValueError, match="workers: got 0"):
        extract(ExtractConfig(output=str(tmp_path), source="/nowhere", workers=0))


def test_the_command_reports_mistakes_without_a_trace(tmp_path: Path) -> None:
    command = [sys.executable, "training/extract.py", f"output={tmp_path}", "source=/nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: /nowhere: not found; expected a video")
