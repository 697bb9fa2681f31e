from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.datasets.dataset import DatasetError, labels_sha256
from tao_anomaly.datasets.registry import load_dataset


@pytest.fixture(scope="module")
def ped1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UCSD Ped1 as released, but for 2 clips of 4 frames: .tif, .bmp, .m and macOS leftovers."""
    root = tmp_path_factory.mktemp("ucsd") / "UCSD_Anomaly_Dataset.v1p2"
    folder = root / "UCSDped1"
    for clip in ("Train/Train001", "Test/Test001", "Test/Test002"):
        _write(folder / clip, "{:03d}.tif", [np.full((6, 8), 50 * i, np.uint8) for i in range(4)])
        (folder / clip / "._002.tif").write_bytes(b"Mac OS X")
        (folder / clip / ".DS_Store").write_bytes(b"")
    masks = [np.zeros((6, 8), np.uint8) for _ in range(4)]
    masks[2][1:3, 2:5] = 255
    _write(folder / "Test/Test002_gt", "frame{:03d}.bmp", masks)
    (folder / "Test/UCSDped1.m").write_text(
        "TestVideoFile = {};\n"
        "TestVideoFile{end+1}.gt_frame = [1:2, 4:4];\n"
        "TestVideoFile{end+1}.gt_frame = [3];\n"
    )
    return root


def _write(folder: Path, pattern: str, images: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images, start=1):
        cv2.imwrite(str(folder / pattern.format(number)), image)


def test_ped1_as_released(ped1: Path) -> None:
    dataset = load_dataset("ucsd_ped1", ped1)
    assert dataset.splits == ("train", "test")
    first, second = dataset.split("test")
    assert first.frame_labels is not None
    assert first.frame_labels.tolist() == [True, True, False, True]
    assert first.regions is None  # it has no pixel masks
    assert first.masks() is None
    assert second.regions is not None
    assert second.regions.boxes.tolist() == [[2, 1, 4, 2]]
    assert second.regions.frames.tolist() == [2]
    shapes = [None if m is None else (m.shape, m.sum()) for m in second.masks() or ()]
    assert shapes == [None, None, ((6, 8), 6), None]


def test_frames_are_read_in_order_at_the_stated_rate(ped1: Path) -> None:
    clip = load_dataset("ucsd_ped1", ped1).clip("Train001")
    frames = list(clip.frames())
    assert [f.image[0, 0].tolist() for f in frames] == [[50 * i] * 3 for i in range(4)]
    assert [f.stamp_ns for f in frames] == [0, 100_000_000, 200_000_000, 300_000_000]
    assert (clip.frame_count, clip.rate) == (4, 10.0)


def test_train_clips_are_normal(ped1: Path) -> None:
    clip = load_dataset("ucsd_ped1", ped1).clip("Train001")
    assert clip.frame_labels is not None
    assert clip.frame_labels.tolist() == [False] * 4
    assert clip.regions is not None
    assert len(clip.regions) == 0
    assert list(clip.masks() or ()) == [None] * 4


def test_missing_parts_are_named_with_place_and_source(ped1: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"UCSDped2 .*not found; looked for .*svcl.ucsd.edu"):
        load_dataset("ucsd_ped2", ped1)
    _write(tmp_path / "Train/Train001", "{:03d}.tif", [np.zeros((2, 2), np.uint8)])
    _write(tmp_path / "Test/Test001", "{:03d}.tif", [np.zeros((2, 2), np.uint8)])
    with pytest.raises(DatasetError, match=r"masks of Test001 not found; .*Test001_gt"):
        load_dataset("ucsd_ped2", tmp_path)
    with pytest.raises(DatasetError, match=r"frame labels UCSDped1.m not found"):
        load_dataset("ucsd_ped1", tmp_path)


def test_frame_labels_that_do_not_fit_are_refused(ped1: Path, tmp_path: Path) -> None:
    for clip in ("Train/Train001", "Test/Test001"):
        _write(tmp_path / clip, "{:03d}.tif", [np.zeros((2, 2), np.uint8)] * 3)
    labels = tmp_path / "Test/UCSDped1.m"
    labels.write_text("TestVideoFile{end+1}.gt_frame = [2:9];\n")
    with pytest.raises(DatasetError, match="got frames 2:9, the clip has 3"):
        load_dataset("ucsd_ped1", tmp_path)
    labels.write_text("\n")
    with pytest.raises(DatasetError, match="frame labels of 0 clips, expected 1"):
        load_dataset("ucsd_ped1", tmp_path)


def test_masks_that_do_not_fit_the_frames_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "Train/Train001", "{:03d}.tif", [np.zeros((2, 2), np.uint8)])
    _write(tmp_path / "Test/Test001", "{:03d}.tif", [np.zeros((2, 2), np.uint8)] * 2)
    _write(tmp_path / "Test/Test001_gt", "{:03d}.bmp", [np.zeros((2, 2), np.uint8)])
    clip = load_dataset("ucsd_ped2", tmp_path).clip("Test001")
    with pytest.raises(DatasetError, match=r"Test001: got 2 frames in .* but 1 masks"):
        clip.frame_labels  # noqa: B018


def test_unknown_names_are_answered_with_those_there_are(ped1: Path) -> None:
    with pytest.raises(DatasetError, match="expected one of ucsd_ped1, ucsd_ped2, avenue"):
        load_dataset("ped3", ped1)
    dataset = load_dataset("ucsd_ped1", ped1)
    with pytest.raises(DatasetError, match="got split 'eval', expected one of train, test"):
        dataset.split("eval")
    with pytest.raises(DatasetError, match="no clip 'Test099'"):
        dataset.clip("Test099")
    with pytest.raises(DatasetError, match="does not exist"):
        load_dataset("ucsd_ped1", ped1 / "nowhere")


def test_the_cache_stays_out_of_the_dataset(ped1: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="inside the dataset"):
        load_dataset("ucsd_ped1", ped1, cache=ped1 / "cache")
    clip = load_dataset("ucsd_ped1", ped1, cache=tmp_path / "cache").clip("Test002")
    assert clip.regions is not None
    assert (tmp_path / "cache/Test002.txt").read_text() == "0,2,2,1,4,2\n"


def test_label_hash_follows_the_labels(ped1: Path, tmp_path: Path) -> None:
    clips = load_dataset("ucsd_ped1", ped1).split("test")
    assert labels_sha256(clips) == labels_sha256(reversed(clips))
    assert labels_sha256(clips) != labels_sha256(clips[:1])


def test_ped2_has_2410_regions_in_21_tracks(shared: Path, tmp_path: Path) -> None:
    dataset = load_dataset("ucsd_ped2", shared / "data/UCSDped2", cache=tmp_path)
    clips = dataset.split("test")
    assert (len(dataset.split("train")), len(clips)) == (16, 12)
    assert sum(clip.frame_count for clip in dataset.split("train")) == 2550
    assert sum(clip.frame_count for clip in clips) == 2010
    regions = [clip.regions for clip in clips]
    assert sum(len(r) for r in regions if r is not None) == 2410
    # Clip 8 has three: a cyclist and a skater meet for 16 frames, and the skater's track breaks.
    tracks = [len(set(r.track_ids.tolist())) for r in regions if r is not None]
    assert tracks == [1, 1, 2, 2, 1, 2, 2, 3, 2, 1, 3, 1]
    labels = [clip.frame_labels for clip in clips]
    assert sum(int(frames.sum()) for frames in labels if frames is not None) == 1648
    again = load_dataset("ucsd_ped2", shared / "data/UCSDped2", cache=tmp_path)
    assert labels_sha256(again.split("test")) == labels_sha256(clips)
