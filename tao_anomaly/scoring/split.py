"""Division of normal footage by clip, never by image."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from tao_anomaly.config import CalibrationConfig

T = TypeVar("T")

_FEWEST = 3  # train, calibration and check need a clip each
_PIECES = 10  # pieces that footage of fewer clips is cut into


@dataclass(frozen=True)
class Split:
    """Names of the clips of each part; no clip is in two."""

    train: tuple[str, ...]
    calibration: tuple[str, ...]
    check: tuple[str, ...]


def split_clips(names: Sequence[str], config: CalibrationConfig) -> Split:
    """Divide clips by a seeded shuffle of their sorted names; every part gets at least one.

    Raises ValueError for fewer than three clips or shares that leave nothing to train on.
    """
    ordered = sorted(names)
    if len(ordered) < _FEWEST:
        raise ValueError(f"got {len(ordered)} clips, expected at least {_FEWEST}; cut the footage")
    random.Random(config.seed).shuffle(ordered)
    held = max(1, round(config.calibration_share * len(ordered)))
    checked = max(1, round(config.check_share * len(ordered)))
    if held + checked >= len(ordered):
        raise ValueError(
            f"got shares {config.calibration_share} and {config.check_share} of {len(ordered)}"
            " clips, which leave none to train on; lower them"
        )
    return Split(
        train=tuple(sorted(ordered[held + checked :])),
        calibration=tuple(sorted(ordered[:held])),
        check=tuple(sorted(ordered[held : held + checked])),
    )


def cut_long_clips(clips: Mapping[str, Sequence[T]]) -> dict[str, list[T]]:
    """Return the clips, cut into consecutive pieces where there are fewer than a split needs.

    A track that crosses a cut begins anew in the next piece.
    """
    if len(clips) >= _FEWEST:
        return {name: list(images) for name, images in clips.items()}
    return {
        f"{name}#{piece:02d}": list(images[a:b])
        for name, images in clips.items()
        for piece, (a, b) in enumerate(
            pairwise(round(i * len(images) / _PIECES) for i in range(_PIECES + 1))
        )
        if b > a
    }
