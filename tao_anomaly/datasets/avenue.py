"""CUHK Avenue: Lu, Shi, Jia, ICCV 2013."""

from __future__ import annotations

from pathlib import Path

from tao_anomaly.datasets.dataset import TEST, TRAIN, Clip, Dataset, Labels
from tao_anomaly.datasets.layout import find
from tao_anomaly.datasets.masks import MatlabMasks

HOME = "https://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html"
CITATION = "Lu, Shi, Jia: Abnormal Event Detection at 150 FPS in MATLAB, ICCV 2013"


def load_avenue(root: Path, cache: Path | None = None) -> Dataset:
    """Load CUHK Avenue: 16 training and 21 test videos ``NN.avi``, masks in ``<n>_label.mat``.

    The videos and the masks come as two archives; the masks are sought beside the videos, in
    ``testing_label_mask`` or ``ground_truth_demo/testing_label_mask``.
    """
    training = find(
        "Avenue (its folder training_videos)",
        [place / "training_videos" for place in (root, root / "Avenue Dataset")],
        home=HOME,
    )
    folder = training.parent
    testing = find("folder testing_videos", [folder / "testing_videos"], home=HOME)
    masks = find(
        "folder testing_label_mask (archive ground_truth_demo)",
        [
            place / name
            for place in (folder, root)
            for name in ("testing_label_mask", "ground_truth_demo/testing_label_mask")
        ],
        home=HOME,
    )
    clips = [
        Clip(name=f"train_{path.stem}", split=TRAIN, source=path, labels=Labels(normal=True))
        for path in _videos(training)
    ]
    clips += [_test_clip(path, masks, cache) for path in _videos(testing)]
    return Dataset(name="avenue", root=folder, clips=tuple(clips), citation=CITATION, home=HOME)


def _videos(folder: Path) -> list[Path]:
    videos = sorted(p for p in folder.glob("*.avi") if p.stem.isdigit())
    find(f"videos in {folder}", videos or [folder / "01.avi"], home=HOME)
    return videos


def _test_clip(path: Path, masks: Path, cache: Path | None) -> Clip:
    name = f"{int(path.stem)}_label.mat"
    labels = Labels(
        masks=MatlabMasks(find(f"masks of {path.name}", [masks / name], home=HOME)),
        cache=cache / f"{path.stem}.txt" if cache else None,
    )
    return Clip(name=path.stem, split=TEST, source=path, labels=labels)
