from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from tao_anomaly.evaluation.scored_clip import clip_of_scores, smoothed_offline
from tao_anomaly.metrics.regions import metric_boxes
from tao_anomaly.structures import AnomalyScores, AnomalyState, Tracks


def scores_of(
    ids: list[str], scores: list[float], *, raw: list[float] | None = None
) -> AnomalyScores:
    """Return the scores of one image; boxes are told apart by their left edge 10 * n."""
    count = len(ids)
    boxes = np.array([(10 * n, 0, 10 * n + 8, 5) for n in range(count)], np.float32)
    values = np.array(scores, np.float32)
    states = np.where(values >= 1, int(AnomalyState.ANOMALOUS), int(AnomalyState.NORMAL))
    states[np.isnan(values)] = int(AnomalyState.WARMUP)
    ints = np.zeros(count, np.int64)
    return AnomalyScores(
        stamp_ns=0,
        epoch=0,
        image_size=(40, 60),
        tracks=Tracks(
            tuple(ids), boxes.reshape(-1, 4), np.ones(count, np.float32), ints, ints, ints
        ),
        observations=ints,
        states=states,
        scores=values,
        raw=np.array(scores if raw is None else raw, np.float32),
        terms=np.zeros((count, 1), np.float32),
        term_names=("speed",),
        contributions=values[:, None],
        leading=("",) * count,
        cues=("",) * count,
        threshold=1.0,
        model_id="m",
    )


def test_outer_edges_become_inclusive_pixels() -> None:
    boxes = np.array([[3, 4, 5, 10], [2.5, 0, 2.75, 1.5]], np.float32)
    assert metric_boxes(boxes).tolist() == [[3, 4, 4, 9], [2.5, 0, 2.5, 0.5]]


def test_what_has_no_score_is_no_detection() -> None:
    images = [scores_of(["a", "b"], [np.nan, 0.5]), scores_of([], []), scores_of(["b"], [2.0])]
    clip = clip_of_scores(np.array([3, 4, 7]), images)
    assert clip.detections.frames.tolist() == [3, 7]
    assert clip.detections.scores.tolist() == [0.5, 2.0]
    assert clip.detections.boxes.tolist() == [[10, 0, 17, 4], [0, 0, 7, 4]]
    assert clip.detections.track_ids is not None
    assert clip.detections.track_ids.tolist() == ["b", "b"]
    assert clip.raised is not None
    assert clip.raised.tolist() == [False, True]
    assert clip.frame_scores(8).tolist() == [*[-np.inf] * 3, 0.5, *[-np.inf] * 3, 2.0]


def test_a_clip_without_objects() -> None:
    clip = clip_of_scores(np.array([0]), [scores_of([], [])])
    assert len(clip.detections) == 0
    assert clip.frame_scores(2).tolist() == [-np.inf, -np.inf]


def test_offline_smoothing_looks_both_ways_along_each_track() -> None:
    raw = [0.0, 0.0, 4.0, 0.0, 0.0]
    images = [scores_of(["a", "b"], [0, 0], raw=[value, 1.0]) for value in raw]
    clip = smoothed_offline(np.arange(5), images, seconds=0.1, rate=10.0)
    of_a, of_b = clip.detections.scores[0::2], clip.detections.scores[1::2]
    np.testing.assert_allclose(of_a, gaussian_filter1d(raw, 1.0, mode="nearest"))
    assert of_a[1] == pytest.approx(of_a[3])  # before the peak as after it
    assert of_a[1] > 0
    np.testing.assert_allclose(of_b, 1.0)
    assert clip.raised is None
