"""Recorded anomaly messages as scored clips: each message finds its frame by its stamp."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.evaluation.scored_clip import ScoredClip, clip_of_scores
from tao_anomaly.media.anomaly_bag import read_anomalies
from tao_anomaly.media.source import BAG_SUFFIXES, SourceError
from tao_anomaly.structures import AnomalyScores, IntArray

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """A clip as recorded. model_ids: of its messages. missing: frames without a message."""

    clip: ScoredClip
    model_ids: tuple[str, ...]
    missing: int


def read_recordings(
    path: Path, clips: Sequence[Clip], *, topic: str | None
) -> dict[str, Recording]:
    """Read the recording of each clip.

    path: a bag, where there is one clip, or a folder of bags named like the clips. Raises
    SourceError where a clip has no bag, or messages do not belong to its frames.
    """
    recordings = {}
    for clip in clips:
        bag = _bag_of(path, clip, alone=len(clips) == 1)
        messages = [scores for _, scores in read_anomalies(bag, topic=topic)]
        recordings[clip.name] = align(messages, clip, bag)
    return recordings


def align(messages: Sequence[AnomalyScores], clip: Clip, bag: Path) -> Recording:
    """Return the messages of `bag` as a scored clip.

    A message belongs to the frame with its stamp. Where no stamp is a frame's own (the clip was
    played, not recorded with the messages), both are counted from their first one. Of two messages
    of one frame the later counts. Raises SourceError for a message that belongs to no frame.
    """
    if not messages:
        raise SourceError(f"{bag}: holds no anomaly message; record the topic anew")
    stamps = np.array([message.stamp_ns for message in messages], np.int64)
    frames = _frames_of(stamps, clip, bag)
    repeats = len(frames) - len(np.unique(frames))
    if repeats:
        log.warning("%s: %d messages of frames that have another", bag, repeats)
    latest = {int(frame): message for frame, message in zip(frames, messages, strict=True)}
    order = sorted(latest)
    scored = clip_of_scores(np.array(order, np.int64), [latest[frame] for frame in order])
    ids = tuple(sorted({message.model_id for message in messages}))
    return Recording(scored, ids, clip.frame_count - len(order))


def _frames_of(stamps: IntArray, clip: Clip, bag: Path) -> IntArray:
    pairs = [(frame.stamp_ns, frame.index) for frame in clip.frames()]
    known = dict(pairs)
    if not any(int(stamp) in known for stamp in stamps):
        stamps = stamps - stamps.min() + pairs[0][0]
    unknown = [int(stamp) for stamp in stamps if int(stamp) not in known]
    if unknown:
        raise SourceError(
            f"{bag}: {len(unknown)} of {len(stamps)} messages have the stamp of no frame of clip"
            f" {clip.name} (the first: {unknown[0]} ns), expected every message to belong to one;"
            " record the messages of this very clip"
        )
    return np.array([known[int(stamp)] for stamp in stamps], np.int64)


def _bag_of(path: Path, clip: Clip, *, alone: bool) -> Path:
    if path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").is_file():
        if alone:
            return path
        raise SourceError(
            f"{path}: one bag for several test clips; give a folder of bags named like them"
        )
    places = [path / clip.name, *(path / f"{clip.name}{suffix}" for suffix in sorted(BAG_SUFFIXES))]
    for place in places:
        if place.exists():
            return place
    listed = ", ".join(map(str, places))
    raise SourceError(f"no recording of clip {clip.name}; looked for {listed}")
