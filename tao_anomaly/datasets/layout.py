"""Finding the parts of a dataset as released, and saying what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tao_anomaly.datasets.dataset import DatasetError
from tao_anomaly.media.source import ImageFolderSource


def find(what: str, places: Iterable[Path], *, home: str = "") -> Path:
    """Return the first of `places` that exists; raises DatasetError that lists them.

    home: where to get it.
    """
    sought = list(places)
    for place in sought:
        if place.exists():
            return place
    listed = ", ".join(map(str, sought))
    remedy = f". Get it from {home}" if home else ""
    raise DatasetError(f"{what} not found; looked for {listed}{remedy}")


def numbered_folders(folder: Path, pattern: str, *, home: str) -> list[Path]:
    """Return the sub-folders whose names match `pattern` wholly, in order of name."""
    found = sorted(p for p in folder.iterdir() if p.is_dir() and re.fullmatch(pattern, p.name))
    if not found:
        raise DatasetError(f"no folder named like {pattern} in {folder}. Get it from {home}")
    return found


def image_files(folder: Path) -> tuple[Path, ...]:
    """Return the images of a folder in the order they are read in; raises SourceError for none."""
    return tuple(ImageFolderSource(folder).paths)
