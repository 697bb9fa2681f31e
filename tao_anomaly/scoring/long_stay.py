"""Who stays longer than normal footage shows: one-sided, so that no shorter stay says anything.

Those that hurry past stay shorter than usual; a term of that would speak against them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tao_anomaly.structures import FloatArray, TrackFeatures
from tao_anomaly.windows import Stay

_LONG = 0.01  # share of the normal observations whose stay is longer than what counts as long
_SHORTEST = 5.0  # seconds that are not long, however short the clips are that show nothing longer


def long_stay(clips: Iterable[Iterable[TrackFeatures]]) -> float:
    """Return the seconds from which a stay is long, of the objects of normal clips."""
    stays = [seconds for clip in clips for seconds in _stays(clip)]
    quantile = float(np.float32(np.quantile(stays, 1 - _LONG))) if stays else 0.0
    return max(quantile, _SHORTEST)


def beyond(stays: FloatArray, long: float) -> FloatArray:
    """Return how far stays ``(M,)`` in seconds are beyond long ones, 0 for shorter ones.

    It is minus the logarithm of the share of long stays that last so long, if stays end at any time
    alike: one in a hundred lasts `long`, so one in 100^2 twice that.
    """
    return np.asarray(-math.log(_LONG) * np.maximum(stays / long - 1, 0), np.float32)


def _stays(images: Iterable[TrackFeatures]) -> Iterable[float]:
    objects: dict[str, Stay] = {}
    for image in images:
        for track_id, box in zip(image.tracks.ids, image.tracks.boxes, strict=True):
            stay = objects.setdefault(track_id, Stay())
            stay.update(image.stamp_ns, box)
            yield stay.seconds
