"""Series of numbers that reports and figures draw, thinned to what an eye can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from tao_anomaly.visualization.recording import Recording

Json = dict[str, Any]
_TAIL_POINTS = 60
_BINS = 40


@dataclass(frozen=True)
class Timeline:
    """Frame scores of a recording: frames ``(P,)``, scores ``(P,)`` (NaN: a gap), thresholds."""

    frames: np.ndarray
    scores: np.ndarray
    thresholds: np.ndarray


def timeline(recording: Recording, limit: int) -> Timeline:
    """Return at most `limit` points: of each stretch of frames the one with the highest score.

    So no peak is lost, however long the recording.
    """
    scores = recording.frame_scores()
    count = len(scores)
    size = max(1, -(-count // max(1, limit)))
    padded = np.full(-(-count // size) * size, -np.inf)
    padded[:count] = np.where(np.isnan(scores), -np.inf, scores)
    best = padded.reshape(-1, size).argmax(axis=1) + np.arange(0, len(padded), size)
    return Timeline(best, scores[best], recording.thresholds()[best])


def tail(calibration: Mapping[str, Any]) -> Json:
    """Return the tail of normal tracks: how many reach a score, counted and fitted.

    calibration: that of an artifact. Keys: ``calibration`` and ``check`` (scores falling, share of
    the tracks that reach them), ``fitted`` (the rule's curve), empty where it is not known.
    """
    threshold, evidence = calibration["threshold"], calibration["evidence"]
    highest = evidence.get("highest", {})
    check = evidence.get("check") or {}
    tracks = {"calibration": threshold.get("tracks", 0), "check": check.get("tracks", 0)}
    found: Json = {name: _shares(highest.get(name, []), count) for name, count in tracks.items()}
    found["fitted"] = _fitted(threshold.get("tail", threshold), tracks["calibration"])
    return found | {"threshold": threshold.get("value"), "q": threshold.get("q")}


def _shares(maxima: list[float], tracks: int) -> Json:
    count = max(tracks, len(maxima))
    return {"scores": maxima, "shares": [round((i + 1) / count, 6) for i in range(len(maxima))]}


def _fitted(found: Mapping[str, Any], tracks: int) -> Json:
    if "family" not in found or not tracks:
        return {"scores": [], "shares": []}
    family = stats.genpareto if found["family"] == "gpd" else stats.weibull_min
    share = found["exceedances"] / tracks
    reach = family.isf(1e-3, found["shape"], 0, found["scale"])
    excess = np.linspace(0, reach, _TAIL_POINTS)
    shares = share * family.sf(excess, found["shape"], 0, found["scale"])
    return {
        "scores": [round(float(v), 4) for v in found["start"] + excess],
        "shares": [float(f"{v:.4g}") for v in shares],
    }


def latency_histogram(seconds: np.ndarray) -> Json | None:
    """Return a histogram in milliseconds with its median and 95th percentile; None for none."""
    if not len(seconds):
        return None
    milliseconds = 1000 * np.asarray(seconds, np.float64)
    top = float(np.quantile(milliseconds, 0.995)) * 1.05  # the rest is counted in the last bin
    counts, edges = np.histogram(np.minimum(milliseconds, top), bins=_BINS, range=(0, top or 1))
    return {
        "edges": [round(float(v), 3) for v in edges],
        "counts": counts.tolist(),
        "p50": round(float(np.median(milliseconds)), 2),
        "p95": round(float(np.quantile(milliseconds, 0.95)), 2),
        "images": len(milliseconds),
    }
