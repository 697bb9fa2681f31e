"""What a report shows beside the metrics: curves, labels by clip, calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.evaluation.scored_clip import ScoredClip
from tao_anomaly.metrics.frame import frame_metrics
from tao_anomaly.metrics.region_track import region_track_curves
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.structures import BoolArray

Json = dict[str, Any]
_POINTS = 400  # of a curve that is drawn


def details(
    clips: Sequence[Clip],
    scored: Mapping[str, Mapping[str, ScoredClip]],
    calibration: Calibration | None,
) -> Json:
    """Return the details of an evaluation; scored: clips by row, then by name."""
    return {
        "clips": {clip.name: _clip(clip) for clip in clips},
        "curves": {row: row_curves(clips, of_row) for row, of_row in scored.items()},
        "calibration": None if calibration is None else asdict(calibration),
    }


def to_json(found: Json) -> str:
    """Return the document ``details.json``."""
    return json.dumps(found, allow_nan=False, ensure_ascii=False) + "\n"


def row_curves(clips: Sequence[Clip], scored: Mapping[str, ScoredClip]) -> Json:
    """Return the curves of one row, thinned for drawing; null where they are not defined."""
    located = [clip for clip in clips if clip.regions is not None]
    truth = [clip.regions for clip in located if clip.regions is not None]
    curves: Json = {"region_track": None, "roc": None, "pr": None}
    if any(map(len, truth)):
        found = region_track_curves(
            truth,
            [scored[clip.name].detections for clip in located],
            num_frames=sum(clip.frame_count for clip in located),
        )
        curves["region_track"] = _thin(fpr=found.fpr, rbdr=found.rbdr, tbdr=found.tbdr)
    labels = {clip.name: clip.frame_labels for clip in clips}
    known = {name: marks for name, marks in labels.items() if marks is not None}
    together = np.concatenate([np.zeros(0, np.bool_), *known.values()])
    if together.any() and not together.all():
        scores = {name: scored[name].frame_scores(len(marks)) for name, marks in known.items()}
        curve = frame_metrics(scores, known).curve
        curves["roc"] = _thin(fpr=curve.fpr, tpr=curve.tpr)
        curves["pr"] = _thin(recall=curve.tpr, precision=curve.precision)
    return curves


def runs(marks: BoolArray) -> list[list[int]]:
    """Return first and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    return [[int(a), int(b) - 1] for a, b in list(pairwise(edges))[::2]]


def _clip(clip: Clip) -> Json:
    marks = clip.frame_labels
    return {
        "source": str(clip.source.resolve()),
        "topic": clip.topic,
        "rate": clip.rate,
        "frames": clip.frame_count,
        "anomalous": None if marks is None else runs(marks),
        "kinds": {} if clip.labels is None else dict(clip.labels.kinds),
    }


def _thin(**axes: np.ndarray) -> Json:
    """Return at most _POINTS points of a curve, its first and its last among them."""
    count = len(next(iter(axes.values())))
    kept = np.unique(np.round(np.linspace(0, count - 1, min(count, _POINTS))).astype(int))
    return {name: [round(float(v), 6) for v in values[kept]] for name, values in axes.items()}
