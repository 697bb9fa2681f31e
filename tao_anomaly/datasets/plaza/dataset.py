"""Reads a generated Plaza folder.

    plaza.yaml               settings, and of each clip: name, split, frames, kinds, categories
    videos/<clip>.mp4
    masks/<clip>/<frame>.png number of the object seen at each pixel, 0 for none
    tracks/<clip>.txt        regions of the anomalies, AED rows
    objects/<clip>.txt       regions of all objects, AED rows

Boxes are tight round the visible pixels of an object, inclusive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tao_anomaly.datasets.dataset import TRAIN, Clip, Dataset, DatasetError, Labels
from tao_anomaly.datasets.layout import find
from tao_anomaly.datasets.masks import mask_or_none, read_mask_image
from tao_anomaly.metrics.text_formats import read_region_tracks
from tao_anomaly.structures import BoolArray

DESCRIPTION = "plaza.yaml"
FORMAT = 1
HOME = "python -m tao_anomaly.datasets.plaza output=<folder>, which generates it"
CITATION = "Plaza: rendered by tao_anomaly"


def video_file(root: Path, name: str) -> Path:
    """Return the video of a clip."""
    return root / "videos" / f"{name}.mp4"


def mask_file(root: Path, name: str, frame: int) -> Path:
    """Return the image of object numbers of a frame."""
    return root / "masks" / name / f"{frame:06d}.png"


def tracks_file(root: Path, name: str) -> Path:
    """Return the regions of a clip's anomalies."""
    return root / "tracks" / f"{name}.txt"


def objects_file(root: Path, name: str) -> Path:
    """Return the regions of all objects of a clip."""
    return root / "objects" / f"{name}.txt"


def load_plaza(root: Path, cache: Path | None = None) -> Dataset:
    """Load a folder that ``python -m tao_anomaly.datasets.plaza`` made; raises DatasetError."""
    file = find("Plaza's description", [root / DESCRIPTION], home=HOME)
    try:
        description = yaml.safe_load(file.read_text("utf-8"))
        if description["format"] != FORMAT:
            raise DatasetError(
                f"{file}: got format {description['format']}, expected {FORMAT}; make it anew with"
                f" {HOME}"
            )
        clips = tuple(_clip(root, entry) for entry in description["clips"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{file}: not as generated ({error!r}); make it anew") from error
    return Dataset(name="plaza", root=root, clips=clips, citation=CITATION, home=HOME)


@dataclass(frozen=True)
class ObjectMasks:
    """Masks of a clip's anomalous objects, from images of object numbers.

    An object is anomalous in the frames that the tracks name. length: number of frames.
    """

    root: Path
    name: str
    length: int

    @property
    def files(self) -> tuple[Path, ...]:
        """The images of all frames."""
        return tuple(mask_file(self.root, self.name, frame) for frame in range(self.length))

    @cached_property
    def _anomalous(self) -> dict[int, list[int]]:
        regions = read_region_tracks(tracks_file(self.root, self.name), clip_length=self.length)
        found: dict[int, list[int]] = {}
        for track, frame in zip(regions.track_ids.tolist(), regions.frames.tolist(), strict=True):
            found.setdefault(frame, []).append(track)
        return found

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[BoolArray | None]:
        for frame, path in enumerate(self.files):
            tracks = self._anomalous.get(frame)
            yield mask_or_none(np.isin(read_mask_image(path), tracks)) if tracks else None


def _clip(root: Path, entry: dict[str, Any]) -> Clip:
    name, split, frames = str(entry["name"]), str(entry["split"]), int(entry["frames"])
    tracks = find(f"tracks of {name}", [tracks_file(root, name)], home=HOME)
    labels = Labels(
        masks=ObjectMasks(root, name, frames),
        tracks=partial(read_region_tracks, tracks, clip_length=frames),
        kinds={int(track): str(kind) for track, kind in entry["kinds"].items()},
    )
    return Clip(
        name=name,
        split=split,
        source=find(f"video of {name}", [video_file(root, name)], home=HOME),
        labels=Labels(normal=True) if split == TRAIN else labels,
    )
