"""UBnormal: Acsintoae et al., CVPR 2022."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tao_anomaly.datasets.dataset import (
    TEST,
    TRAIN,
    VALIDATION,
    Clip,
    Dataset,
    DatasetError,
    Labels,
)
from tao_anomaly.datasets.ground_truth import mask_regions, region_tracks
from tao_anomaly.datasets.layout import find
from tao_anomaly.datasets.masks import mask_or_none, read_mask_image
from tao_anomaly.media.source import open_source
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.structures import BoolArray

HOME = "https://github.com/lilygeorgescu/UBnormal (videos: its download link; lists: scripts/)"
CITATION = (
    "Acsintoae et al.: UBnormal: New Benchmark for Supervised Open-Set Video Anomaly Detection,"
    " CVPR 2022"
)
# The training videos with anomalies serve supervised methods; nothing here learns from them.
TRAIN_ABNORMAL = "train_abnormal"
_LISTS = (
    ("normal_training", TRAIN),
    ("abnormal_training", TRAIN_ABNORMAL),
    ("normal_validation", VALIDATION),
    ("abnormal_validation", VALIDATION),
    ("normal_test", TEST),
    ("abnormal_test", TEST),
)


def load_ubnormal(root: Path, cache: Path | None = None) -> Dataset:
    """Load UBnormal: ``Scene<n>/<video>.mp4``, its lists of names and its annotations.

    The lists ``<kind>_<split>_video_names.txt`` are sought in the root and in ``scripts``.
    """
    clips = []
    for kind, split in _LISTS:
        file = f"{kind}_video_names.txt"
        names = find(f"list {file}", [root / file, root / "scripts" / file], home=HOME)
        clips += [_clip(root, name, split) for name in names.read_text("utf-8").split()]
    return Dataset(name="ubnormal", root=root, clips=tuple(clips), citation=CITATION, home=HOME)


@dataclass(frozen=True)
class Appearance:
    """An anomalous object: its value in the masks and the frames it is anomalous in, inclusive."""

    value: int
    first: int
    last: int


@dataclass(frozen=True)
class InstanceMasks:
    """Images ``<stem>_<frame>_gt.png`` whose pixels hold the number of an object.

    A pixel is anomalous where its object is by `appearances`; frames without one need no image.
    length: number of frames T.
    """

    stem: Path
    appearances: tuple[Appearance, ...]
    length: Callable[[], int]

    @property
    def files(self) -> tuple[Path, ...]:
        """The images of the frames with an anomaly."""
        frames = {f for seen in self.appearances for f in range(seen.first, seen.last + 1)}
        return tuple(self._file(frame) for frame in sorted(frames))

    def __len__(self) -> int:
        return self.length()

    def __iter__(self) -> Iterator[BoolArray | None]:
        for frame in range(len(self)):
            values = [a.value for a in self.appearances if a.first <= frame <= a.last]
            image = read_mask_image(self._file(frame)) if values else None
            yield None if image is None else mask_or_none(np.isin(image, values))

    def region_tracks(self) -> RegionTracks:
        """Return the box of each object's largest part in each frame; an appearance is a track."""
        rows = []
        for track, seen in enumerate(self.appearances):
            for frame in range(seen.first, seen.last + 1):
                box = _largest_part(read_mask_image(self._file(frame)) == seen.value)
                if box is not None:
                    rows.append((track, frame, *box))
        return region_tracks(rows)

    def _file(self, frame: int) -> Path:
        return self.stem.with_name(f"{self.stem.name}_{frame:04d}_gt.png")


def _largest_part(mask: BoolArray) -> tuple[float, ...] | None:
    """Return the largest of the boxes of a mask's parts, as the authors' script chooses it."""
    boxes = mask_regions(mask)
    if not len(boxes):
        return None
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    return tuple(boxes[int(areas.argmax())].tolist())


def read_appearances(path: Path) -> tuple[Appearance, ...]:
    """Read rows ``object,first frame,last frame``, frames from 0, in order of the object.

    Raises ValueError with file and line.
    """
    rows = []
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value, first, last = (int(float(field)) for field in line.split(",")[:3])
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: got {line.strip()[:80]!r}, expected object,first,last"
            ) from None
        rows.append(Appearance(value, first, last))
    return tuple(sorted(rows, key=lambda row: row.value))


def _clip(root: Path, name: str, split: str) -> Clip:
    scene = re.match(r"(?:ab)?normal_scene_(\d+)_scenario_", name)
    folder = root / (f"Scene{scene[1]}" if scene else "")
    video = find(f"video {name}", [folder / f"{name}.mp4"], home=HOME)
    labels = Labels(normal=True) if name.startswith("normal") else _labels(folder, name, video)
    return Clip(name=name, split=split, source=video, labels=labels)


def _labels(folder: Path, name: str, video: Path) -> Labels:
    annotations = folder / f"{name}_annotations"
    tracks = find(
        f"tracks of {name}",
        [annotations / f"{name}_new_tracks.txt", annotations / f"{name}_tracks.txt"],
        home=HOME,
    )
    masks = InstanceMasks(
        annotations / name, read_appearances(tracks), partial(_frame_count, video)
    )
    return Labels(masks=masks, tracks=masks.region_tracks)


def _frame_count(video: Path) -> int:
    length = open_source(video).length
    if length is None:
        raise DatasetError(f"{video}: states no number of frames; fetch it again. See {HOME}")
    return length
