"""A dataset of your own, described by a YAML file.

    name: yard
    rate: 10                       # Hz of folders of images; videos and bags state their own
    train:                         # normal footage: folders of images, videos or rosbags
      - normal/monday.mp4
      - {source: bags/tuesday, topic: /camera/image_raw}
    test:
      - source: test/wednesday.mp4
        tracks: labels/wednesday.txt    # AED or MERL text file
      - source: test/thursday           # labels are optional, and each kind of its own
        name: thursday_evening
        masks: labels/thursday          # folder of images or (T, H, W) .npy, not 0: anomalous
        frames: labels/thursday.npy     # (T,), not 0: anomalous

Paths count from the YAML file. A clip is named after its source unless `name` says otherwise.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tao_anomaly.datasets.dataset import (
    TEST,
    TRAIN,
    VALIDATION,
    Clip,
    Dataset,
    DatasetError,
    Labels,
)
from tao_anomaly.datasets.ground_truth import read_tracks
from tao_anomaly.datasets.layout import find, image_files
from tao_anomaly.datasets.masks import ArrayMasks, ImageMasks, Masks, load_array

_SPLITS = (TRAIN, VALIDATION, TEST)
_KEYS = ("source", "name", "topic", "rate", "masks", "tracks", "frames")


def load_custom(root: Path, cache: Path | None = None) -> Dataset:
    """Load the dataset of a YAML file, or of ``dataset.yaml`` in a folder."""
    file = find("dataset file", [root / "dataset.yaml"] if root.is_dir() else [root])
    try:
        description = yaml.safe_load(file.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise DatasetError(f"{file}: not readable as YAML ({error})") from error
    description = _checked(file, description, ("name", "rate", *_SPLITS))
    clips = [
        _clip(file, split, entry, description.get("rate"), cache)
        for split in _SPLITS
        for entry in description.get(split) or ()
    ]
    if not clips:
        raise DatasetError(f"{file}: no clip; list some under {' or '.join(_SPLITS)}")
    name = str(description.get("name") or file.stem)
    return Dataset(name=name, root=file.parent, clips=tuple(clips))


def _clip(file: Path, split: str, entry: Any, rate: Any, cache: Path | None) -> Clip:
    settings = _checked(file, {"source": entry} if isinstance(entry, str) else entry, _KEYS)
    if "source" not in settings:
        raise DatasetError(f"{file}: a clip of {split} has no source")
    source = _path(file, settings["source"])
    name = str(settings.get("name") or source.stem)
    rate = settings.get("rate", rate if source.is_dir() else None)
    if rate is not None and not (isinstance(rate, int | float) and rate > 0):
        raise DatasetError(f"{file}: clip {name}: got rate {rate!r}, expected Hz above 0")
    return Clip(
        name=name,
        split=split,
        source=source,
        labels=_labels(file, name, split, settings, cache),
        stated_rate=None if rate is None else float(rate),
        topic=settings.get("topic"),
    )


def _labels(
    file: Path, name: str, split: str, settings: dict[str, Any], cache: Path | None
) -> Labels | None:
    given = {
        key: _path(file, settings[key]) for key in ("masks", "tracks", "frames") if key in settings
    }
    if not given:
        return Labels(normal=True) if split == TRAIN else None
    if split == TRAIN:
        raise DatasetError(f"{file}: clip {name}: train clips are normal and take no labels")
    return Labels(
        frames=np.asarray(load_array(given["frames"])) > 0 if "frames" in given else None,
        masks=_masks(given["masks"]) if "masks" in given else None,
        tracks=partial(read_tracks, given["tracks"]) if "tracks" in given else None,
        cache=cache / f"{name}.txt" if cache else None,
    )


def _masks(path: Path) -> Masks:
    return ImageMasks(image_files(path)) if path.is_dir() else ArrayMasks(path)


def _path(file: Path, text: Any) -> Path:
    return find(f"{text} named in {file.name}", [file.parent / str(text)])


def _checked(file: Path, settings: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(settings, dict):
        raise DatasetError(f"{file}: got {settings!r}, expected keys of {', '.join(known)}")
    unknown = sorted(map(str, settings.keys() - set(known)))
    if unknown:
        raise DatasetError(
            f"{file}: got unknown key {', '.join(unknown)}, expected {', '.join(known)}"
        )
    return settings
