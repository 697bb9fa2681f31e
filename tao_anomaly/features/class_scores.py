"""What the detector takes an object and its parts for: class scores pooled over a box."""

from __future__ import annotations

import numpy as np

from tao_anomaly.detection.boxes import share_inside
from tao_anomaly.detection.postprocess import LEAST_SCORE
from tao_anomaly.structures import Candidates, FloatArray

_INSIDE = 0.5  # share of a candidate's area in the box it tells of


def class_scores(boxes: FloatArray, candidates: Candidates) -> FloatArray:
    """Return the highest score ``(N, C)`` of each class among the candidates in each box.

    boxes: ``(N, 4)`` in pixels of the detector's input. Suppressed candidates count: a rider's box
    tells of the vehicle too, which is a part of it. Scores below `LEAST_SCORE` are 0.
    """
    scores = np.zeros((len(boxes), candidates.class_scores.shape[1]), np.float32)
    rows, classes = np.nonzero(candidates.class_scores >= LEAST_SCORE)
    told = candidates.class_scores[rows, classes]
    rising = np.argsort(told, kind="stable")
    inside = share_inside(candidates.boxes, boxes) >= _INSIDE
    entries, objects = np.nonzero(inside[rows[rising]])
    # Where indices repeat the last value stays, which is the highest.
    scores[objects, classes[rising][entries]] = told[rising][entries]
    return scores
