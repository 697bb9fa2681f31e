"""Fits calibration and threshold of a model on normal footage that did not train it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tao_anomaly.config import CalibrationConfig, ScorerConfig, WindowConfig
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.normal_scores import NormalScores, ThresholdError
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.scoring.thresholds import ThresholdRule, make_rule, realised_rate
from tao_anomaly.scoring.window_model import WindowModel
from tao_anomaly.structures import (
    NANOSECONDS,
    BoolArray,
    FloatArray,
    TrackFeatures,
    TrackWindows,
)
from tao_anomaly.windows import TrackBuffer

log = logging.getLogger(__name__)

_TAIL_SHOWN = 500  # maxima of tracks kept as evidence

Clips = Mapping[str, Sequence[TrackFeatures]]


def windows_of(images: Iterable[TrackFeatures], config: WindowConfig) -> Iterator[TrackWindows]:
    """Yield the windows of one clip, as a fresh buffer cuts them."""
    buffer = TrackBuffer(config)
    for image in images:
        yield buffer.update(image)


def calibrate(
    model: WindowModel,
    *,
    weights: tuple[float, ...],
    calibration_clips: Clips,
    check_clips: Clips,
    feature_id: str,
    windows: WindowConfig,
    scorer: ScorerConfig,
    config: CalibrationConfig,
) -> Calibration:
    """Return the calibration of a model, its threshold and the alarm rate realised on the check.

    calibration_clips and check_clips: images of normal clips by name, none of which trained the
    model. Raises ValueError where nothing in them could be scored.
    """
    if model.network_terms:  # as often as the network runs
        sparse = replace(windows, hop=max(windows.hop, scorer.network_hop))
    else:
        sparse = windows
    table, speeds, moving = _raw_terms(model, calibration_clips, sparse)
    open_ended = Calibration.fit(
        table, term_names=model.term_names, weights=weights, cap=config.cap, moving=moving
    )
    made = Scorer(model=model, calibration=open_ended, feature_id=feature_id, config=scorer)
    normal = normal_scores(made, calibration_clips, windows)
    threshold = _fit_threshold(normal, config)
    check = normal_scores(made, check_clips, windows)
    evidence: dict[str, Any] = {
        "windows": len(table),
        "smoothing": scorer.smoothing,
        "calibration_clips": sorted(calibration_clips),
        "check_clips": sorted(check_clips),
        "check": realised_rate(threshold, check).as_dict() if len(check.scores) else None,
        "highest": {"calibration": _highest(normal), "check": _highest(check)},
    }
    if np.isfinite(speeds).any():
        evidence["usual_speed"] = float(np.nanmean(speeds, dtype=np.float64))
    return replace(open_ended, threshold=threshold, evidence=evidence)


def _raw_terms(
    model: WindowModel, clips: Clips, windows: WindowConfig
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return raw terms ``(N, K)`` and speeds ``(N,)`` of all windows of the clips.

    And True ``(N,)`` where only its movement shows the object.
    """
    terms: list[FloatArray] = [np.zeros((0, len(model.term_names)), np.float32)]
    speeds: list[FloatArray] = [np.zeros(0, np.float32)]
    moving: list[BoolArray] = [np.zeros(0, np.bool_)]
    for images in clips.values():
        for cut in windows_of(images, windows):
            if len(cut.index):
                terms.append(model.terms(cut))
                speeds.append(model.speeds(cut))
                moving.append(cut.moving)
    return np.concatenate(terms), np.concatenate(speeds), np.concatenate(moving)


def _highest(normal: NormalScores) -> list[float]:
    """Return the highest maxima of tracks, falling: the tail that a threshold is judged by."""
    return [round(float(v), 4) for v in np.sort(normal.maxima())[::-1][:_TAIL_SHOWN]]


def normal_scores(scorer: Scorer, clips: Clips, windows: WindowConfig) -> NormalScores:
    """Return the smoothed scores of all scored objects of normal clips."""
    scores: list[float] = []
    names: list[str] = []
    tracks: list[str] = []
    times: list[float] = []
    footage = 0.0
    for name in sorted(clips):
        scorer.reset()
        for cut in windows_of(clips[name], windows):
            result = scorer.update(cut)
            rows = np.flatnonzero(np.isfinite(result.scores))
            scores += result.scores[rows].tolist()
            tracks += [result.tracks.ids[row] for row in rows]
            names += [name] * len(rows)
            times += [result.stamp_ns / NANOSECONDS] * len(rows)
        footage += _seconds(clips[name])
    return NormalScores(
        scores=np.array(scores, np.float64),
        clips=np.array(names, np.str_),
        tracks=np.array(tracks, np.str_),
        times=np.array(times, np.float64),
        footage=max(footage, 1e-3),
    )


def describe(calibration: Calibration) -> str:
    """Return what a person should know of a fitted threshold, one line."""
    found, check = calibration.threshold, calibration.evidence.get("check")
    asked = f", asked {found['q']:.3g} a track" if "q" in found else ""
    realised = (
        f", realised {check['rate']:.3g} ({check['alarms']} of {check['tracks']} normal tracks,"
        f" {check['alarms_per_hour']:.3g} an hour)"
        if check
        else ", not checked: no object in the check clips"
    )
    return f"threshold {found['value']:.3f} by rule {found['rule']}{asked}{realised}"


def _fit_threshold(normal: NormalScores, config: CalibrationConfig) -> dict[str, Any]:
    try:
        return _rule(config).fit(normal)
    except ThresholdError as error:
        if not len(normal.scores):
            raise
        highest = float(normal.scores.max())
        log.warning("%s; the highest score of normal footage is the threshold instead", error)
        above = float(np.nextafter(np.float32(highest), np.float32(np.inf)))
        return {"rule": "fixed", "value": above, "tracks": normal.track_count, "why": str(error)}


def _rule(config: CalibrationConfig) -> ThresholdRule:
    settings = {"value": config.value} if config.rule == "fixed" else {"q": config.q}
    return make_rule(config.rule, **settings)


def _seconds(images: Sequence[TrackFeatures]) -> float:
    return (images[-1].stamp_ns - images[0].stamp_ns) / NANOSECONDS if len(images) else 0.0
