"""UCSD Ped1 and Ped2: Mahadevan, Li, Bhalodia, Vasconcelos, CVPR 2010."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tao_anomaly.datasets.dataset import TEST, TRAIN, Clip, Dataset, DatasetError, Labels
from tao_anomaly.datasets.layout import find, image_files, numbered_folders
from tao_anomaly.datasets.masks import ImageMasks
from tao_anomaly.structures import BoolArray

RATE = 10.0  # Hz, as it is commonly taken; the files hold no times
HOME = "http://www.svcl.ucsd.edu/projects/anomaly/dataset.html"
CITATION = "Mahadevan, Li, Bhalodia, Vasconcelos: Anomaly Detection in Crowded Scenes, CVPR 2010"


def load_ucsd_ped2(root: Path, cache: Path | None = None) -> Dataset:
    """Load UCSD Ped2: 16 training and 12 test clips, a pixel mask for each test frame."""
    folder = _folder(root, "UCSDped2")
    clips = _train_clips(folder)
    for path in _test_folders(folder):
        find(
            f"masks of {path.name}", [path.with_name(f"{path.name}_gt")], home=HOME
        )  # every clip of Ped2 has them
        clips.append(_test_clip(path, cache, frames=None))
    return _dataset("ucsd_ped2", folder, clips)


def load_ucsd_ped1(root: Path, cache: Path | None = None) -> Dataset:
    """Load UCSD Ped1: 34 training and 36 test clips, frame labels for all, masks for some."""
    folder = _folder(root, "UCSDped1")
    labels = find("frame labels UCSDped1.m", [folder / "Test" / "UCSDped1.m"], home=HOME)
    paths = _test_folders(folder)
    lengths = [len(image_files(path)) for path in paths]
    clips = _train_clips(folder)
    for path, frames in zip(paths, read_frame_labels(labels, lengths), strict=True):
        clips.append(_test_clip(path, cache, frames=frames))
    return _dataset("ucsd_ped1", folder, clips)


def read_frame_labels(path: Path, lengths: list[int]) -> list[BoolArray]:
    """Read ``TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`` lines, a clip each.

    lengths: frames of each clip. Frames count from 1 and ranges include both ends. Raises
    DatasetError where the lines do not fit the clips.
    """
    lines = re.findall(r"gt_frame\s*=\s*\[([^\]]*)\]", path.read_text("utf-8", "replace"))
    if len(lines) != len(lengths):
        raise DatasetError(
            f"{path}: got frame labels of {len(lines)} clips, expected {len(lengths)}, one a test"
            f" clip. Get it from {HOME}"
        )
    return [_frames(path, line, length) for line, length in zip(lines, lengths, strict=True)]


def _frames(path: Path, ranges: str, length: int) -> BoolArray:
    labels = np.zeros(length, bool)
    for first, last in re.findall(r"(\d+)(?:\s*:\s*(\d+))?", ranges):
        begin, end = int(first), int(last or first)
        if not 1 <= begin <= end <= length:
            raise DatasetError(f"{path}: got frames {begin}:{end}, the clip has {length}")
        labels[begin - 1 : end] = True
    return labels


def _folder(root: Path, name: str) -> Path:
    places = [root, root / name, root / "UCSD_Anomaly_Dataset.v1p2" / name]
    train = find(f"{name} (its folder Train)", [place / "Train" for place in places], home=HOME)
    find(f"{name} (its folder Test)", [train.with_name("Test")], home=HOME)
    return train.parent


def _train_clips(folder: Path) -> list[Clip]:
    return [
        Clip(
            name=path.name,
            split=TRAIN,
            source=path,
            labels=Labels(normal=True),
            stated_rate=RATE,
        )
        for path in numbered_folders(folder / "Train", r"Train\d+", home=HOME)
    ]


def _test_folders(folder: Path) -> list[Path]:
    return numbered_folders(folder / "Test", r"Test\d+", home=HOME)


def _test_clip(path: Path, cache: Path | None, *, frames: BoolArray | None) -> Clip:
    masks = path.with_name(f"{path.name}_gt")
    labels = Labels(
        frames=frames,
        masks=ImageMasks(image_files(masks)) if masks.is_dir() else None,
        cache=cache / f"{path.name}.txt" if cache else None,
    )
    return Clip(name=path.name, split=TEST, source=path, labels=labels, stated_rate=RATE)


def _dataset(name: str, folder: Path, clips: list[Clip]) -> Dataset:
    return Dataset(name=name, root=folder, clips=tuple(clips), citation=CITATION, home=HOME)
