"""A threshold refitted where the model runs, on scores of footage that is said to be normal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.normal_scores import NormalScores, ThresholdError
from tao_anomaly.scoring.thresholds import make_rule, online_threshold
from tao_anomaly.structures import NANOSECONDS, AnomalyScores

FORMAT_VERSION = 1
MAX_SCORES = 1_000_000  # most scores collected, about 40 MB


class ScoreCollector:
    """Collects the smoothed scores of a running scorer for some seconds of image time.

    An epoch counts as a clip. Collecting ends early at MAX_SCORES.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._rows: list[tuple[str, str, float, float]] = []  # epoch, track, time, score
        self._footage = 0.0
        self._previous: tuple[int, float] | None = None

    @property
    def done(self) -> bool:
        """Whether enough has been collected."""
        return self._footage >= self.seconds or len(self._rows) >= MAX_SCORES

    def update(self, scores: AnomalyScores) -> None:
        """Take in the scores of one image."""
        now = scores.stamp_ns / NANOSECONDS
        if self._previous is not None and self._previous[0] == scores.epoch:
            self._footage += max(0.0, now - self._previous[1])
        self._previous = scores.epoch, now
        for row in np.flatnonzero(np.isfinite(scores.scores)):
            track = scores.tracks.ids[row]
            self._rows.append((str(scores.epoch), track, now, float(scores.scores[row])))

    def normal_scores(self) -> NormalScores:
        """Return what was collected; raises ThresholdError where it is nothing."""
        if not self._rows:
            raise ThresholdError(
                f"got no score in {self._footage:.1f} s, expected objects in view; calibrate again"
                " when there is normal traffic"
            )
        epochs, tracks, times, scores = zip(*self._rows, strict=True)
        return NormalScores(
            scores=np.array(scores, np.float64),
            clips=np.array(epochs, np.str_),
            tracks=np.array(tracks, np.str_),
            times=np.array(times, np.float64),
            footage=max(self._footage, 1e-3),
        )


def refit(calibration: Calibration, normal: NormalScores) -> Calibration:
    """Return the calibration with its threshold refitted by its own rule and q.

    Raises ThresholdError where the rule has nothing to fit, or too little to fit it on.
    """
    found = calibration.threshold
    if "q" not in found:
        raise ThresholdError(
            f"got a model whose threshold is {found.get('rule')} at {found.get('value')}, expected"
            " one fitted by a rule with q; set the parameter scorer.threshold, or fit the model"
            " again on more footage"
        )
    rule = make_rule(str(found["rule"]), q=float(found["q"]))
    return replace(calibration, threshold=rule.fit(normal))


def save_threshold(path: Path, *, model_id: str, threshold: Mapping[str, Any]) -> None:
    """Write the threshold of a model to a file of its own, all of it or nothing."""
    document = {"format": FORMAT_VERSION, "model_id": model_id, "threshold": dict(threshold)}
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text)


def load_threshold(path: Path, *, model_id: str, calibration: Calibration) -> Calibration:
    """Return the calibration with the threshold of a file; raises ThresholdError naming the key."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ThresholdError(f"{path}: not readable as JSON ({error}); calibrate again") from error
    if not isinstance(document, dict) or not isinstance(document.get("threshold"), dict):
        raise ThresholdError(f"{path}: got no key 'threshold', expected it; calibrate again")
    for key, expected in (("format", FORMAT_VERSION), ("model_id", model_id)):
        if document.get(key) != expected:
            raise ThresholdError(
                f"{path}: key {key!r} is {document.get(key)!r}, expected {expected!r}; calibrate"
                " again, or name another calibration file"
            )
    try:
        online_threshold(document["threshold"])
    except (TypeError, ValueError) as error:
        raise ThresholdError(f"{path}: key 'threshold': {error}") from error
    return replace(calibration, threshold=document["threshold"])
