"""Datasets that are not at hand, on small fixtures in the format they are released in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from tao_anomaly.datasets.dataset import Dataset, DatasetError
from tao_anomaly.datasets.masks import MaskError
from tao_anomaly.datasets.registry import load_dataset

SIZE = (32, 48)
FRAMES = 5


def anomaly(frame: int) -> np.ndarray:
    """Return a mask ``(H, W)`` of 0 and 1: one object that moves right in frames 2 and 3."""
    mask = np.zeros(SIZE, np.uint8)
    if frame in (2, 3):
        mask[10:20, 4 * frame : 4 * frame + 8] = 1
    return mask


OBJECT = [[8, 10, 15, 19], [12, 10, 19, 19]]


def write_video(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25.0, SIZE[::-1])
    for frame in range(FRAMES):
        writer.write(np.full((*SIZE, 3), 40 * frame, np.uint8))
    writer.release()


def write_frames(folder: Path, pattern: str, first: int = 1) -> None:
    folder.mkdir(parents=True)
    for frame in range(FRAMES):
        image = np.full((*SIZE, 3), 40 * frame, np.uint8)
        cv2.imwrite(str(folder / pattern.format(first + frame)), image)


def check_test_clip(dataset: Dataset, name: str, *, rate: float, pixels: bool = True) -> None:
    clip = dataset.clip(name)
    assert clip.split == "test"
    assert (clip.frame_count, clip.rate) == (FRAMES, rate)
    assert [f.index for f in clip.frames()] == list(range(FRAMES))
    assert clip.frame_labels is not None
    assert clip.frame_labels.tolist() == [False, False, True, True, False]
    assert clip.regions is not None
    assert clip.regions.frames.tolist() == [2, 3]
    assert clip.regions.boxes.tolist() == OBJECT
    assert len(set(clip.regions.track_ids.tolist())) == 1
    masks = clip.masks()
    if not pixels:
        assert masks is None
        return
    for frame, mask in enumerate(masks or ()):
        assert (mask is None) == (frame not in (2, 3))
        assert mask is None or (mask == (anomaly(frame) > 0)).all()


def avenue(root: Path) -> Path:
    write_video(root / "Avenue Dataset/training_videos/01.avi", "MJPG")
    write_video(root / "Avenue Dataset/testing_videos/01.avi", "MJPG")
    cells = np.empty((1, FRAMES), object)
    for frame in range(FRAMES):
        cells[0, frame] = anomaly(frame)
    masks = root / "ground_truth_demo/testing_label_mask"
    masks.mkdir(parents=True)
    scipy.io.savemat(masks / "1_label.mat", {"volLabel": cells})
    return root


def test_avenue(tmp_path: Path) -> None:
    dataset = load_dataset("avenue", avenue(tmp_path))
    assert [clip.name for clip in dataset.split("train")] == ["train_01"]
    check_test_clip(dataset, "01", rate=25.0)


def test_avenue_without_masks_says_which_archive(tmp_path: Path) -> None:
    mask = avenue(tmp_path) / "ground_truth_demo/testing_label_mask/1_label.mat"
    scipy.io.savemat(mask, {"other": np.zeros(3)})
    clip = load_dataset("avenue", tmp_path).clip("01")
    with pytest.raises(MaskError, match="got variables other, expected volLabel"):
        clip.regions  # noqa: B018
    mask.unlink()
    with pytest.raises(DatasetError, match=r"masks of 01.avi not found; .*cse.cuhk.edu.hk"):
        load_dataset("avenue", tmp_path)
    mask.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"archive ground_truth_demo"):
        load_dataset("avenue", tmp_path)


def shanghaitech(root: Path) -> Path:
    write_video(root / "training/videos/01_001.avi", "MJPG")
    testing = root / "testing"
    write_frames(testing / "frames/01_0014", "{:03d}.jpg", first=0)
    for name in ("test_frame_mask", "test_pixel_mask"):
        (testing / name).mkdir()
    masks = np.stack([anomaly(frame) for frame in range(FRAMES)])
    np.save(testing / "test_frame_mask/01_0014.npy", masks.any(axis=(1, 2)).astype(np.int8))
    np.save(testing / "test_pixel_mask/01_0014.npy", masks)
    return root


def test_shanghaitech(tmp_path: Path) -> None:
    dataset = load_dataset("shanghaitech", shanghaitech(tmp_path))
    assert [clip.rate for clip in dataset.split("train")] == [25.0]  # the video's own
    check_test_clip(dataset, "01_0014", rate=24.0)


def test_shanghaitech_takes_the_tracks_of_aed_where_present(tmp_path: Path) -> None:
    tracks = shanghaitech(tmp_path) / "annotations/ShanghaiTech"
    tracks.mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"tracks of 01_0014 not found; .*lilygeorgescu/AED"):
        load_dataset("shanghaitech", tmp_path)
    (tracks / "01_0014.txt").write_text("0,2,7,9,16,20\n0,3,11,9,20,20\n")
    regions = load_dataset("shanghaitech", tmp_path).clip("01_0014").regions
    assert regions is not None
    assert regions.boxes.tolist() == [[7, 9, 16, 20], [11, 9, 20, 20]]
    (tracks / "01_0014.txt").write_text("0,5,7,9,16,20\n")
    with pytest.raises(ValueError, match=r"01_0014.txt, line 1: the clip has 5 frames"):
        load_dataset("shanghaitech", tmp_path).clip("01_0014").regions  # noqa: B018


def test_shanghaitech_refuses_a_pickle(tmp_path: Path) -> None:
    mask = shanghaitech(tmp_path) / "testing/test_frame_mask/01_0014.npy"
    np.save(mask, np.array([{}], object), allow_pickle=True)
    with pytest.raises(MaskError, match=r"01_0014.npy: not a readable NumPy array"):
        load_dataset("shanghaitech", tmp_path)


def test_street_scene(tmp_path: Path) -> None:
    write_frames(tmp_path / "StreetScene/Train/Train001", "{:03d}.jpg")
    test = tmp_path / "StreetScene/Test/Test001"
    write_frames(test, "{:03d}.jpg")
    (test / "Test001_gt.txt").write_text("003.jpg 0 11.5 14.5 8 10\n004.jpg 0 15.5 14.5 8 10\n")
    dataset = load_dataset("street_scene", tmp_path)
    check_test_clip(dataset, "Test001", rate=15.0, pixels=False)
    (test / "Test001_gt.txt").write_text("006.jpg 0 11.5 14.5 8 10\n")
    with pytest.raises(DatasetError, match=r"got 5 frames in .* but 6 last labelled frame"):
        load_dataset("street_scene", tmp_path).clip("Test001").regions  # noqa: B018
    (test / "Test001_gt.txt").unlink()
    with pytest.raises(DatasetError, match=r"annotation of Test001 not found; .*merl.com"):
        load_dataset("street_scene", tmp_path)


def ubnormal(root: Path) -> Path:
    lists = {
        "normal_training": "normal_scene_1_scenario_1",
        "abnormal_training": "",
        "normal_validation": "",
        "abnormal_validation": "",
        "normal_test": "normal_scene_1_scenario_2",
        "abnormal_test": "abnormal_scene_1_scenario_3_fog",
    }
    (root / "scripts").mkdir()
    for kind, name in lists.items():
        (root / f"scripts/{kind}_video_names.txt").write_text(f"{name}\n")
        if name:
            write_video(root / f"Scene1/{name}.mp4", "mp4v")
    name = lists["abnormal_test"]
    folder = root / f"Scene1/{name}_annotations"
    folder.mkdir()
    for frame in range(FRAMES):
        instances = anomaly(frame) * 3
        instances[0:4, 0:4] = 1  # an object that is normal
        instances[25:27, 40:42] = 3 * (frame == 2)  # a loose part of the anomalous one
        cv2.imwrite(str(folder / f"{name}_{frame:04d}_gt.png"), instances)
    (folder / f"{name}_tracks.txt").write_text("3,2,3\n")
    return root


def test_ubnormal(tmp_path: Path) -> None:
    dataset = load_dataset("ubnormal", ubnormal(tmp_path))
    assert [clip.name for clip in dataset.split("train")] == ["normal_scene_1_scenario_1"]
    clip = dataset.clip("abnormal_scene_1_scenario_3_fog")
    assert clip.regions is not None
    assert clip.regions.boxes.tolist() == OBJECT
    assert clip.frame_labels is not None
    assert clip.frame_labels.tolist() == [False, False, True, True, False]
    sizes = [0 if mask is None else int(mask.sum()) for mask in clip.masks() or ()]
    assert sizes == [0, 0, 84, 80, 0]
    normal = dataset.clip("normal_scene_1_scenario_2")
    assert normal.frame_labels is not None
    assert not normal.frame_labels.any()


def test_ubnormal_names_what_is_missing(tmp_path: Path) -> None:
    tracks = ubnormal(tmp_path).glob("Scene1/*/*_tracks.txt")
    path = next(tracks)
    path.write_text("3,2\n")
    with pytest.raises(ValueError, match=r"tracks.txt, line 1: got '3,2', expected object"):
        load_dataset("ubnormal", tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match="tracks of abnormal_scene_1_scenario_3_fog not found"):
        load_dataset("ubnormal", tmp_path)
    (tmp_path / "scripts/normal_test_video_names.txt").unlink()
    with pytest.raises(DatasetError, match=r"list normal_test_video_names.txt not found"):
        load_dataset("ubnormal", tmp_path)


def custom(root: Path, text: str) -> Path:
    write_video(root / "normal/monday.avi", "MJPG")
    write_frames(root / "test/thursday", "{:02d}.png")
    (root / "labels/masks").mkdir(parents=True)
    for frame in range(FRAMES):
        cv2.imwrite(str(root / f"labels/masks/{frame}.png"), anomaly(frame) * 255)
    (root / "labels/tracks.txt").write_text("0,2,8,10,15,19\n0,3,12,10,19,19\n")
    np.save(root / "labels/frames.npy", np.array([0, 0, 1, 1, 0]))
    (root / "yard.yaml").write_text(text)
    return root / "yard.yaml"


@pytest.mark.parametrize("labels", ["masks: labels/masks", "tracks: labels/tracks.txt"])
def test_custom(tmp_path: Path, labels: str) -> None:
    text = "rate: 4\ntrain: [normal/monday.avi]\n"
    text += f"test:\n- {{source: test/thursday, name: evening, {labels}}}\n"
    dataset = load_dataset("custom", custom(tmp_path, text))
    assert dataset.name == "yard"
    assert [(clip.name, clip.rate) for clip in dataset.split("train")] == [("monday", 25.0)]
    check_test_clip(dataset, "evening", rate=4.0, pixels="masks" in labels)


def test_custom_labels_are_optional_and_may_be_of_frames_only(tmp_path: Path) -> None:
    text = "name: site\ntest:\n- test/thursday\n"
    text += "- {source: normal/monday.avi, frames: labels/frames.npy}\n"
    dataset = load_dataset("custom", custom(tmp_path, text))
    assert dataset.name == "site"
    unlabelled, frames_only = dataset.split("test")
    assert (unlabelled.frame_labels, unlabelled.regions, unlabelled.masks()) == (None, None, None)
    assert unlabelled.rate == 10.0
    assert frames_only.frame_labels is not None
    assert frames_only.frame_labels.tolist() == [False, False, True, True, False]
    assert (frames_only.regions, frames_only.masks()) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("test: [nowhere]", "nowhere named in yard.yaml not found; looked for"),
        ("rates: 3", "got unknown key rates, expected name, rate, train"),
        ("test: [{sauce: test/thursday}]", "got unknown key sauce, expected source"),
        ("test: [{name: a}]", "a clip of test has no source"),
        ("test: [{source: test/thursday, rate: -1}]", "got rate -1, expected Hz above 0"),
        ("train: [{source: test/thursday, masks: labels/masks}]", "train clips are normal"),
        ("name: a", "no clip; list some under train or validation or test"),
        ("[1, 2]", r"got \[1, 2\], expected keys"),
        ("a: [", "not readable as YAML"),
        ("test: [test/thursday, test/thursday]", "clip names must be unique"),
    ],
)
def test_custom_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_dataset("custom", custom(tmp_path, text))
