"""ShanghaiTech Campus: Luo, Liu, Gao, ICCV 2017; Liu, Luo, Lian, Gao, CVPR 2018."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from tao_anomaly.datasets.dataset import TEST, TRAIN, Clip, Dataset, DatasetError, Labels
from tao_anomaly.datasets.layout import find, numbered_folders
from tao_anomaly.datasets.masks import ArrayMasks, load_array
from tao_anomaly.metrics.text_formats import read_region_tracks

RATE = 24.0  # Hz of the videos; the test clips come as frames without times
HOME = "https://svip-lab.github.io/dataset/campus_dataset.html"
TRACKS_HOME = "https://github.com/lilygeorgescu/AED (annotations/ShanghaiTech)"
CITATION = "Luo, Liu, Gao: A Revisit of Sparse Coding Based Anomaly Detection, ICCV 2017"
_CLIP = r"\d\d_\d+"


def load_shanghaitech(root: Path, cache: Path | None = None) -> Dataset:
    """Load ShanghaiTech: training videos or frames, test frames with frame and pixel masks.

    Region tracks are those of AED where a folder ``tracks`` or ``annotations/ShanghaiTech`` holds
    them, one ``<clip>.txt`` a test clip with anomalies; otherwise they are derived from the masks.
    """
    places = [root, root / "shanghaitech", root / "ShanghaiTech"]
    testing = find("ShanghaiTech (its testing)", [p / "testing" for p in places], home=HOME)
    folder = testing.parent
    frames = find("test frames", [testing / "frames"], home=HOME)
    tracks = [
        place
        for place in (folder / "tracks", folder / "annotations" / "ShanghaiTech")
        if place.is_dir()
    ]
    clips = _train_clips(folder / "training")
    clips += [
        _test_clip(path, tracks[0] if tracks else None, cache)
        for path in numbered_folders(frames, _CLIP, home=HOME)
    ]
    return Dataset(
        name="shanghaitech", root=folder, clips=tuple(clips), citation=CITATION, home=HOME
    )


def _train_clips(training: Path) -> list[Clip]:
    source = find("training clips", [training / "frames", training / "videos"], home=HOME)
    if source.name == "frames":
        paths, rate = numbered_folders(source, _CLIP, home=HOME), RATE
    else:
        paths, rate = sorted(source.glob("*.avi")), None
        find(f"videos in {source}", paths or [source / "01_001.avi"], home=HOME)
    return [
        Clip(
            name=path.stem,
            split=TRAIN,
            source=path,
            labels=Labels(normal=True),
            stated_rate=rate,
        )
        for path in paths
    ]


def _test_clip(path: Path, tracks: Path | None, cache: Path | None) -> Clip:
    testing = path.parent.parent
    name = f"{path.name}.npy"
    frame_file = find(f"frame mask of {path.name}", [testing / "test_frame_mask" / name], home=HOME)
    mask_file = find(f"pixel mask of {path.name}", [testing / "test_pixel_mask" / name], home=HOME)
    frames = np.asarray(load_array(frame_file)) > 0
    if frames.ndim != 1:
        raise DatasetError(f"{frame_file}: got shape {frames.shape}, expected (T,). See {HOME}")
    reader = None
    if tracks is not None and frames.any():
        file = find(f"tracks of {path.name}", [tracks / f"{path.name}.txt"], home=TRACKS_HOME)
        reader = partial(read_region_tracks, file, clip_length=len(frames))
    labels = Labels(
        frames=frames,
        masks=ArrayMasks(mask_file),
        tracks=reader,
        cache=cache / f"{path.name}.txt" if cache else None,
    )
    return Clip(name=path.name, split=TEST, source=path, labels=labels, stated_rate=RATE)
