"""Street Scene: Ramachandra and Jones, WACV 2020."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tao_anomaly.datasets.dataset import TEST, TRAIN, Clip, Dataset, Labels
from tao_anomaly.datasets.ground_truth import read_merl_tracks
from tao_anomaly.datasets.layout import find, numbered_folders

RATE = 15.0  # Hz, as the paper states
HOME = "https://www.merl.com/research/downloads/StreetScene"
CITATION = (
    "Ramachandra, Jones: Street Scene: A new dataset and evaluation protocol for video anomaly"
    " detection, WACV 2020"
)


def load_street_scene(root: Path, cache: Path | None = None) -> Dataset:
    """Load Street Scene: 46 training and 35 test clips, labelled by tracked boxes, no pixels."""
    train = find(
        "Street Scene (its folder Train)",
        [place / "Train" for place in (root, root / "StreetScene")],
        home=HOME,
    )
    test = find("folder Test", [train.with_name("Test")], home=HOME)
    clips = [
        Clip(
            name=path.name,
            split=TRAIN,
            source=path,
            labels=Labels(normal=True),
            stated_rate=RATE,
        )
        for path in numbered_folders(train, r"Train\d+", home=HOME)
    ]
    clips += [_test_clip(path) for path in numbered_folders(test, r"Test\d+", home=HOME)]
    return Dataset(
        name="street_scene",
        root=train.parent,
        clips=tuple(clips),
        citation=CITATION,
        home=HOME,
    )


def _test_clip(path: Path) -> Clip:
    name = f"{path.name}_gt.txt"
    file = find(f"annotation of {path.name}", [path / name, path.with_name(name)], home=HOME)
    labels = Labels(tracks=partial(read_merl_tracks, file))
    return Clip(name=path.name, split=TEST, source=path, labels=labels, stated_rate=RATE)
