"""What every dataset looks like: clips of frames, in splits, with the labels they have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from tao_anomaly.datasets.ground_truth import derived_region_tracks
from tao_anomaly.datasets.masks import Masks
from tao_anomaly.media.source import FrameSource, open_source
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.structures import BoolArray

TRAIN = "train"  # normal clips to learn from
VALIDATION = "validation"  # where a dataset has it
TEST = "test"  # labelled clips to measure on


class DatasetError(ValueError):
    """A dataset that is not as released: what is missing, where it was sought, where to get it."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a dataset says of one clip; what it does not say is None or follows from the rest.

    normal: nothing in the clip is anomalous. frames ``(T,)``: True where anomalous. masks: pixel
    labels. tracks: reads the regions and tracks; without it they are derived from the masks and
    kept in the file `cache`, if given. kinds: of anomaly, by track id, where the dataset tells.
    """

    normal: bool = False
    frames: BoolArray | None = None
    masks: Masks | None = None
    tracks: Callable[[], RegionTracks] | None = None
    cache: Path | None = None
    kinds: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A recording: where its frames are and what is known of them.

    name: unique in its dataset. split: TRAIN, VALIDATION, TEST or a dataset's own. source: what
    `open_source` reads. stated_rate: frames a second where the source does not know. topic: image
    topic of a bag.
    """

    name: str
    split: str
    source: Path
    labels: Labels | None = None
    stated_rate: float | None = None
    topic: str | None = None

    def frames(self) -> FrameSource:
        """Return the frames, to be iterated; raises SourceError."""
        return open_source(self.source, rate=self.stated_rate, topic=self.topic)

    @cached_property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames().rate

    @cached_property
    def frame_count(self) -> int:
        """Number of frames T; raises DatasetError where the source does not tell."""
        length = self.frames().length
        if length is None:
            raise DatasetError(
                f"{self.source}: states no number of frames; convert it, for example to .mp4"
            )
        return length

    @cached_property
    def regions(self) -> RegionTracks | None:
        """The anomalous regions, each with its track; None where the dataset has no such labels.

        Boxes are inclusive pixels of the source image. Raises DatasetError where the labels do not
        fit the frames.
        """
        labels = self.labels
        if labels is None:
            return None
        if labels.normal:
            return RegionTracks.empty()
        if labels.tracks is not None:
            regions = labels.tracks()
            self._check("last labelled frame + 1", int(regions.frames.max(initial=-1)) + 1, least=1)
            return regions
        if labels.masks is None:
            return None
        self._check("masks", len(labels.masks))
        return derived_region_tracks(labels.masks, labels.cache)

    @cached_property
    def frame_labels(self) -> BoolArray | None:
        """``(T,)``, True where the frame is anomalous; None where the clip has no labels."""
        if self.labels is None:
            return None
        if self.labels.frames is not None:
            self._check("frame labels", len(self.labels.frames))
            return np.asarray(self.labels.frames, bool)
        if self.regions is None:
            return None
        labels = np.zeros(self.frame_count, bool)
        labels[self.regions.frames] = True
        return labels

    def masks(self) -> Iterator[BoolArray | None] | None:
        """Return T masks ``(H, W)``, True where anomalous; None where there are no pixel labels.

        A mask is None where no pixel of the frame is anomalous.
        """
        if self.labels is not None and self.labels.normal:
            return (None for _ in range(self.frame_count))
        if self.labels is None or self.labels.masks is None:
            return None
        self._check("masks", len(self.labels.masks))
        return iter(self.labels.masks)

    def _check(self, what: str, got: int, *, least: int | None = None) -> None:
        if got > self.frame_count or (least is None and got != self.frame_count):
            raise DatasetError(
                f"clip {self.name}: got {self.frame_count} frames in {self.source} but {got}"
                f" {what}; both must be as released, fetch the dataset again"
            )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Clips of one dataset. citation: the work to cite. home: where to get it."""

    name: str
    root: Path
    clips: tuple[Clip, ...]
    citation: str = ""
    home: str = ""
    _by_name: dict[str, Clip] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {clip.name: clip for clip in self.clips}
        if len(by_name) != len(self.clips):
            names = [clip.name for clip in self.clips]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DatasetError(f"{self.root}: clip names must be unique, got twice: {twice}")
        object.__setattr__(self, "_by_name", by_name)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in order of first appearance."""
        return tuple(dict.fromkeys(clip.split for clip in self.clips))

    def split(self, name: str) -> tuple[Clip, ...]:
        """Return the clips of a split; raises DatasetError naming those there are."""
        chosen = tuple(clip for clip in self.clips if clip.split == name)
        if not chosen:
            raise DatasetError(
                f"{self.name}: got split {name!r}, expected one of {', '.join(self.splits)}"
            )
        return chosen

    def clip(self, name: str) -> Clip:
        """Return the clip of that name; raises DatasetError."""
        if name not in self._by_name:
            raise DatasetError(f"{self.name}: no clip {name!r} in {self.root}")
        return self._by_name[name]


def labels_sha256(clips: Iterable[Clip]) -> str:
    """Return the SHA-256 over the labels of `clips`: names, frame labels and regions, not pixels.

    Two results are comparable only where it is equal.
    """
    digest = hashlib.sha256()
    for clip in sorted(clips, key=lambda clip: clip.name):
        digest.update(clip.name.encode() + b"\0")
        if clip.frame_labels is not None:
            digest.update(np.packbits(clip.frame_labels).tobytes())
        if clip.regions is not None:
            order = np.lexsort((clip.regions.frames, clip.regions.track_ids))
            digest.update(clip.regions.frames[order].astype("<i8").tobytes())
            digest.update(clip.regions.boxes[order].astype("<f8").tobytes())
    return digest.hexdigest()
