"""From windows to the anomaly score of every tracked object."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from tao_anomaly.config import ScorerConfig
from tao_anomaly.model.artifact import Artifact
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.explanation import cue_in_words, leading_term
from tao_anomaly.scoring.lost_tracks import LostTracks
from tao_anomaly.scoring.smoothing import MovingAverage
from tao_anomaly.scoring.thresholds import ConstantThreshold, Threshold, online_threshold
from tao_anomaly.scoring.window_model import WindowModel, build_window_model
from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyScores,
    AnomalyState,
    FloatArray,
    IntArray,
    TrackWindows,
)
from tao_anomaly.windows import FeatureMismatchError, track_phase

_MAX_AGE = 10.0  # seconds after which an unseen track's average is dropped
_INHERITED = 0.5  # weight of a lost object's past for its heir, who may be somebody else


@dataclass
class _Track:
    """What is known of one object between its windows."""

    average: MovingAverage
    terms: FloatArray
    contributions: FloatArray  # smoothed
    speed: float = math.nan  # over the usual one, smoothed alike
    seen_ns: int = 0
    raw: float = math.nan
    windows: int = 0

    @property
    def invalid(self) -> bool:
        return not math.isfinite(self.raw)


class Scorer:
    """Standardises and fuses a model's terms, smooths along tracks, compares with the threshold.

    A track keeps its score between its windows; who appears where a lost one is expected takes its
    average over. model_id: of the artifact. feature_id: of the features it accepts.
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
        self._lost = LostTracks(within=config.inherit_within)
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
        self._lost.within = config.inherit_within
        self._threshold: Threshold = (
            online_threshold(self.calibration.threshold)
            if math.isnan(config.threshold)
            else ConstantThreshold(config.threshold)
        )
        for track in self._tracks.values():
            track.average.time_constant = config.smoothing

    def recalibrate(self, calibration: Calibration) -> None:
        """Take another calibration of the same model for the images to come."""
        self.calibration = calibration
        self.reconfigure(self.config)

    def reset(self) -> None:
        """Forget all tracks."""
        self._tracks.clear()
        self._lost.reset()
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
            self._lost.reset()
            self._epoch = windows.epoch
        if len(windows.index):
            self._take(windows)
        self._lost.update(windows.tracks, windows.stamp_ns)
        self._prune(windows)
        return self._scores(windows, [self._tracks.get(i) for i in windows.tracks.ids])

    def refuse(self, windows: TrackWindows) -> AnomalyScores:
        """Return every object of an image as INVALID, and take nothing of it in."""
        none = self._scores(windows, [None] * len(windows.tracks))
        return replace(none, states=np.full_like(none.states, int(AnomalyState.INVALID)))

    def _take(self, windows: TrackWindows) -> None:
        terms = self._raw_terms(windows)
        standardised = self._standardised(windows, terms)
        contributions = self.calibration.contributions(standardised)
        raw = contributions.sum(axis=1)
        speeds = self._speeds(windows, terms) / self.calibration.usual_speed
        inherited = self._inherited(windows)
        for window, row in enumerate(windows.index):
            track_id = windows.tracks.ids[row]
            track = self._tracks.get(track_id)
            if track is None:
                average = inherited.get(track_id) or MovingAverage(self.config.smoothing)
                track = _Track(average, standardised[window], contributions[window])
                self._tracks[track_id] = track
            track.terms, track.raw = standardised[window], float(raw[window])
            track.windows += 1
            if track.invalid:
                track.contributions = np.full_like(contributions[window], np.nan)
                continue
            # The mean is linear: that of the contributions adds up to that of the score.
            present = np.append(contributions[window], speeds[window]).astype(np.float64)
            smoothed = track.average.update(present, windows.stamp_ns)
            track.contributions = smoothed[:-1].astype(np.float32)
            track.speed = float(smoothed[-1])

    def _inherited(self, windows: TrackWindows) -> dict[str, MovingAverage]:
        """Return the averages that new objects go on with, by their ids."""
        new = [row for row in windows.index if windows.tracks.ids[row] not in self._tracks]
        lost = self._lost.expected_at(windows.tracks, new, windows.stamp_ns)
        return {
            windows.tracks.ids[row]: self._tracks[track_id].average.heir(_INHERITED)
            for row, track_id in zip(new, lost, strict=True)
            if track_id is not None and track_id in self._tracks
        }

    def _raw_terms(self, windows: TrackWindows) -> FloatArray:
        """Return the raw terms ``(M, K)``, those of a network at every `network_hop`-th window."""
        ids = [windows.tracks.ids[row] for row in windows.index]
        turn = [self._is_turn(track_id, self._tracks.get(track_id)) for track_id in ids]
        return self.model.terms(windows, np.array(turn, np.bool_))

    def _speeds(self, windows: TrackWindows, terms: FloatArray) -> FloatArray:
        """Return the speeds ``(M,)``: the raw term of that name where there is one."""
        names = self.calibration.term_names
        if "speed" in names:
            return terms[:, names.index("speed")]
        return self.model.speeds(windows)

    def _standardised(self, windows: TrackWindows, terms: FloatArray) -> FloatArray:
        """Return the standardised terms ``(M, K)`` of raw ones.

        Network terms that are not new are the same as before, and those of normal footage (0)
        while there are too few steps for a network.
        """
        held = [self._tracks.get(windows.tracks.ids[row]) for row in windows.index]
        found = self.calibration.standardise(terms, windows.moving)
        usual = np.zeros(found.shape[1], np.float32)
        kept = np.array([track.terms if track else usual for track in held], np.float32)
        network = np.isin(self.calibration.term_names, self.model.network_terms)
        return np.where(np.isnan(found) & network, kept, found)

    def _is_turn(self, track_id: str, track: _Track | None) -> bool:
        if track is None or track.windows <= 1:  # the second window is the first of two steps
            return True
        return (track.windows + track_phase(track_id)) % self.config.network_hop == 0

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

    def _scores(self, windows: TrackWindows, known: list[_Track | None]) -> AnomalyScores:
        names = self.calibration.term_names
        unknown = np.full(len(names), np.nan, np.float32)
        shape = len(known), len(names)
        terms = np.array([t.terms if t else unknown for t in known], np.float32).reshape(shape)
        parts = [t.contributions if t else unknown for t in known]
        contributions = np.array(parts, np.float32).reshape(shape)
        scores = contributions.sum(axis=1)
        threshold = self._threshold.update(scores, windows.stamp_ns / NANOSECONDS)
        leading = tuple(leading_term(row, names) for row in contributions)
        return AnomalyScores(
            stamp_ns=windows.stamp_ns,
            epoch=windows.epoch,
            image_size=windows.image_size,
            tracks=windows.tracks,
            observations=windows.observations,
            states=_states(known, scores, threshold),
            scores=scores,
            raw=np.array([t.raw if t else math.nan for t in known], np.float32),
            terms=terms,
            term_names=names,
            contributions=contributions,
            leading=leading,
            cues=tuple(
                self._cue(name, track, row)
                for name, track, row in zip(leading, known, contributions, strict=True)
            ),
            threshold=threshold,
            model_id=self.model_id,
        )

    def _cue(self, leading: str, track: _Track | None, contributions: FloatArray) -> str:
        if track is None or not leading:
            return ""
        term = self.calibration.term_names.index(leading)
        share = self.calibration.shares[term]
        deviations = float(contributions[term] / share) if share > 0 else 0.0
        return cue_in_words(leading, deviations, track.speed)


def _states(known: list[_Track | None], scores: FloatArray, threshold: float) -> IntArray:
    states = np.where(  # compared in float32, as the score is published
        scores >= np.float32(threshold), int(AnomalyState.ANOMALOUS), int(AnomalyState.NORMAL)
    ).astype(np.int64)
    for row, track in enumerate(known):
        if track is None:
            states[row] = AnomalyState.WARMUP
        elif track.invalid:
            states[row] = AnomalyState.INVALID
    return states
