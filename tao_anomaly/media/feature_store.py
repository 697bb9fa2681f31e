"""A folder of track features, ``<dataset>/<clip>.parquet``: extracted once, read many times."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from tao_anomaly.config import PipelineConfig, portable_settings
from tao_anomaly.media.clip_file import (
    UNFINISHED,
    ClipInfo,
    ClipWriter,
    StoreError,
    iterate_clip,
    read_frame_numbers,
    read_info,
)
from tao_anomaly.structures import FeatureLayout, IntArray, TrackFeatures
from tao_anomaly.windows import FeatureMismatchError

SUFFIX = ".parquet"


class FeatureStore:
    """The clips in a folder, named ``<dataset>/<clip>``, all of one feature_id and settings.

    What the store holds follows from its files alone. Raises StoreError where a file is damaged or
    differs from the others.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    @cached_property
    def infos(self) -> dict[str, ClipInfo]:
        """What holds for each clip, by name, in order of name; read once."""
        paths = sorted(self.folder.glob(f"*/[!.]*{SUFFIX}"))
        infos = {f"{p.parent.name}/{p.name.removesuffix(SUFFIX)}": read_info(p) for p in paths}
        for name, info in infos.items():
            first = next(iter(infos))
            if (info.feature_id, info.layout) != (infos[first].feature_id, infos[first].layout):
                raise StoreError(
                    f"{self.folder}: {name} holds features {info.feature_id} and {first}"
                    f" {infos[first].feature_id}; keep the clips of one in a folder of their own"
                )
        return infos

    def clips(self, *, dataset: str | None = None, split: str | None = None) -> list[str]:
        """Return the names of the clips, of one dataset or split where given."""
        return [
            name
            for name, info in self.infos.items()
            if dataset in (None, info.dataset) and split in (None, info.split)
        ]

    @property
    def feature_id(self) -> str:
        """What made the features; raises StoreError for an empty store."""
        return self._first().feature_id

    @property
    def layout(self) -> FeatureLayout:
        """How a feature vector is laid out; raises StoreError for an empty store."""
        return self._first().layout

    def require(self, feature_id: str) -> None:
        """Raise FeatureMismatchError where the store holds other features."""
        if self.infos and self.feature_id != feature_id:
            raise FeatureMismatchError(
                f"got features {feature_id}, but the store {self.folder} holds {self.feature_id};"
                " use the detector weights and settings it was extracted with, or extract into"
                " another folder"
            )

    def require_settings(self, settings: dict[str, Any], precision: str) -> None:
        """Raise StoreError where the store was extracted with other settings, naming them."""
        if not self.infos:
            return
        # A setting younger than the store had its default then.
        held = _flat(portable_settings(PipelineConfig())) | _flat(
            {"precision": self._first().precision, **self._first().settings}
        )
        wanted = _flat({"precision": precision, **settings})
        differing = [
            f"{key}: got {wanted.get(key)}, the store has {held.get(key)}"
            for key in sorted(wanted)
            if held.get(key) != wanted.get(key)
        ]
        if differing:
            raise StoreError(
                f"{self.folder} was extracted with other settings ({'; '.join(differing)}); use"
                " those, or extract into another folder"
            )

    def path(self, clip: str) -> Path:
        """Return the file of a clip ``<dataset>/<clip>``."""
        dataset, _, name = clip.partition("/")
        if not dataset or not name or "/" in name or clip.startswith(".") or name.startswith("."):
            raise StoreError(f"got clip {clip!r}, expected <dataset>/<clip>, both plain names")
        return self.folder / dataset / f"{name}{SUFFIX}"

    def read(self, clip: str) -> list[TrackFeatures]:
        """Return the features of every processed frame of a clip, also where there is no object."""
        return [features for _, features in self.iterate(clip)]

    def frames(self, clip: str) -> IntArray:
        """Return the frame number of each entry of `read`; skipped images have none."""
        return read_frame_numbers(self._known(clip))

    def iterate(self, clip: str) -> Iterator[tuple[int, TrackFeatures]]:
        """Yield frame number and features of every processed frame without holding them all."""
        yield from iterate_clip(self._known(clip))

    def writer(self, info: ClipInfo) -> ClipWriter:
        """Return the writer of a clip, to be used as a context."""
        return ClipWriter(self.path(f"{info.dataset}/{info.clip}"), info)

    def remove_unfinished(self) -> None:
        """Delete what a killed extraction left; no other may be writing into the folder."""
        for path in self.folder.glob(f"*/.*{SUFFIX}.*{UNFINISHED}"):
            path.unlink()

    def _known(self, clip: str) -> Path:
        if clip not in self.infos:
            raise StoreError(
                f"{self.folder}: no clip {clip!r} among {len(self.infos)}; extract it first"
            )
        return self.path(clip)

    def _first(self) -> ClipInfo:
        if not self.infos:
            raise StoreError(f"{self.folder}: holds no clip; extract some first")
        return next(iter(self.infos.values()))


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat
