"""From windows to the anomaly score of every tracked object."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from tao_anomaly.config import ScorerConfig
from tao_anomaly.model.artifact import Artifact
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.smoothing import MovingAverage
from tao_anomaly.scoring.thresholds import ConstantThreshold, Threshold, online_threshold
from tao_anomaly.scoring.window_model import WindowModel, build_window_model
from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyScores,
    AnomalyState,
    FloatArray,
    TrackWindows,
)
from tao_anomaly.windows import FeatureMismatchError

_MAX_AGE = 10.0  # seconds after which an unseen track's average is dropped


@dataclass
class _Track:
    """What is known of one object between its windows."""

    average: MovingAverage
    terms: FloatArray
    seen_ns: int = 0
    score: float = math.nan
    raw: float = math.nan
    invalid: bool = False


class Scorer:
    """Standardises and fuses a model's terms, smooths along tracks, compares with the threshold.

    A track keeps its score between its windows. model_id: of the artifact. feature_id: of the
    features it accepts.
    """

    def __init__(
        self,
        *,
        model: WindowModel,
        calibration: Calibration,
        feature_id: str,
        config: ScorerConfig,
        model_id: str = "",
    ) -> None:
        if tuple(model.term_names) != calibration.term_names:
            raise ValueError(
                f"got a calibration of terms {', '.join(calibration.term_names)}, expected"
                f" {', '.join(model.term_names)}; fit the model again"
            )
        self.model = model
        self.calibration = calibration
        self.feature_id = feature_id
        self.model_id = model_id
        self._tracks: OrderedDict[str, _Track] = OrderedDict()
        self._epoch: int | None = None
        self.reconfigure(config)

    @staticmethod
    def from_artifact(artifact: Artifact, *, config: ScorerConfig) -> Scorer:
        """Build the scorer of a verified artifact."""
        return Scorer(
            model=build_window_model(artifact),
            calibration=artifact.calibration,
            feature_id=artifact.feature_id,
            config=config,
            model_id=artifact.model_id,
        )

    def reconfigure(self, config: ScorerConfig) -> None:
        """Take new settings for the images to come."""
        self.config = config
        self._threshold: Threshold = (
            online_threshold(self.calibration.threshold)
            if math.isnan(config.threshold)
            else ConstantThreshold(config.threshold)
        )
        for track in self._tracks.values():
            track.average.time_constant = config.smoothing

    def reset(self) -> None:
        """Forget all tracks."""
        self._tracks.clear()
        self._threshold.reset()
        self._epoch = None

    def require(self, feature_id: str) -> None:
        """Raise FeatureMismatchError where features of this id are not what the model knows."""
        if feature_id != self.feature_id:
            raise FeatureMismatchError(
                f"got features {feature_id}, but model {self.model_id} was fitted on features"
                f" {self.feature_id}; use the detector weights and settings it was fitted with, or"
                " fit it again on footage seen through the present ones"
            )

    def update(self, windows: TrackWindows) -> AnomalyScores:
        """Return the scores of all tracks of one image.

        Raises FeatureMismatchError; the windows are not taken in then.
        """
        self.require(windows.feature_id)
        if windows.epoch != self._epoch:
            self._tracks.clear()
            self._epoch = windows.epoch
        if len(windows.index):
            self._take(windows)
        self._prune(windows)
        return self._scores(windows)

    def _take(self, windows: TrackWindows) -> None:
        standardised = self.calibration.standardise(self.model.terms(windows))
        raw = self.calibration.contributions(standardised).sum(axis=1)
        for window, row in enumerate(windows.index):
            track_id = windows.tracks.ids[row]
            track = self._tracks.get(track_id)
            if track is None:
                average = MovingAverage(self.config.smoothing)
                track = self._tracks[track_id] = _Track(average, standardised[window])
            track.terms, track.raw = standardised[window], float(raw[window])
            track.invalid = not math.isfinite(track.raw)
            if track.invalid:
                track.score = math.nan
            else:
                track.score = track.average.update(track.raw, windows.stamp_ns)

    def _prune(self, windows: TrackWindows) -> None:
        for track_id in windows.tracks.ids:
            if track_id in self._tracks:
                self._tracks[track_id].seen_ns = windows.stamp_ns
                self._tracks.move_to_end(track_id)
        while self._tracks:
            oldest = next(iter(self._tracks.values()))
            if windows.stamp_ns - oldest.seen_ns <= _MAX_AGE * NANOSECONDS:
                return
            self._tracks.popitem(last=False)

    def _scores(self, windows: TrackWindows) -> AnomalyScores:
        known = [self._tracks.get(track_id) for track_id in windows.tracks.ids]
        names = self.calibration.term_names
        unknown = np.full(len(names), np.nan, np.float32)
        terms = [unknown if track is None else track.terms for track in known]
        table = np.array(terms, np.float32).reshape(len(known), len(names))
        scores = np.array([t.score if t else math.nan for t in known], np.float32)
        threshold = self._threshold.update(scores, windows.stamp_ns / NANOSECONDS)
        states = [AnomalyState.WARMUP if t is None else _state(t, threshold) for t in known]
        leading = self.calibration.contributions(table)
        return AnomalyScores(
            stamp_ns=windows.stamp_ns,
            epoch=windows.epoch,
            image_size=windows.image_size,
            tracks=windows.tracks,
            observations=windows.observations,
            states=np.array(states, np.int64),
            scores=scores,
            raw=np.array([t.raw if t else math.nan for t in known], np.float32),
            terms=table,
            term_names=names,
            leading=tuple(
                names[int(row.argmax())] if np.isfinite(row).all() else "" for row in leading
            ),
            threshold=threshold,
            model_id=self.model_id,
        )


def _state(track: _Track, threshold: float) -> AnomalyState:
    if track.invalid:
        return AnomalyState.INVALID
    # Compared in float32, as the score is published.
    anomalous = np.float32(track.score) >= np.float32(threshold)
    return AnomalyState.ANOMALOUS if anomalous else AnomalyState.NORMAL
