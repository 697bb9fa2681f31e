from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tao_anomaly.metrics.frame import frame_metrics
from tao_anomaly.metrics.score_curve import score_curve


def test_a_case_worked_out_by_hand():
    # Falling scores: 0.9 anomalous, 0.8 normal, 0.7 anomalous, 0.1 normal: 3 of 4 pairs in order.
    result = frame_metrics({"a": [0.9, 0.8, 0.7, 0.1]}, {"a": [1, 0, 1, 0]})
    assert result.micro_auc == result.macro_auc == 0.75
    assert result.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert result.eer == 0.5
    # Precision over recall: (0, 1), (1/2, 1), (1/2, 1/2), (1, 2/3), (1, 1/2).
    assert result.pr_auc == pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2)
    np.testing.assert_array_equal(result.curve.thresholds, [np.inf, 0.9, 0.8, 0.7, 0.1])
    np.testing.assert_array_equal(result.curve.tpr, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(result.curve.fpr, [0, 0, 0.5, 0.5, 1])


def test_the_equal_error_rate_lies_between_points():
    # ROC from (0, 0) over (0, 1/2) and (1, 1/2) to (1, 1): fpr = 1 - tpr at 1/2.
    assert score_curve([3, 2, 1], [1, 0, 1]).eer == 0.5
    # All scores tie: the diagonal.
    assert score_curve([1, 1, 1, 1], [1, 0, 0, 0]).eer == 0.5
    assert score_curve([2, 1], [1, 0]).eer == 0.0


def test_macro_auc_leaves_clips_of_one_class_out_and_names_them():
    scores = {"good": [1, 2], "bad": [2, 1], "normal": [9, 9], "anomalous": [0, 0]}
    labels = {"good": [0, 1], "bad": [0, 1], "normal": [0, 0], "anomalous": [1, 1]}
    result = frame_metrics(scores, labels)
    assert result.clip_auc == {"good": 1.0, "bad": 0.0}
    assert result.macro_auc == 0.5
    assert result.excluded_clips == ("normal", "anomalous")
    anomalous, normal = (2, 1, 0, 0), (1, 2, 9, 9)
    pairs = [(a > n) + (a == n) / 2 for a in anomalous for n in normal]
    assert result.micro_auc == pytest.approx(np.mean(pairs))


def test_macro_auc_is_undefined_without_a_mixed_clip():
    result = frame_metrics({"a": [1.0], "b": [0.0]}, {"a": [1], "b": [0]})
    assert result.micro_auc == 1.0
    assert np.isnan(result.macro_auc)


def test_minus_infinity_ranks_below_every_score():
    result = frame_metrics({"a": [-np.inf, -np.inf, -5.0]}, {"a": [0, 0, 1]})
    assert result.micro_auc == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ({"a": [0.1, np.nan]}, {"a": [0, 1]}, "clip a: got a score that is NaN"),
        ({"a": [0.1, np.inf]}, {"a": [0, 1]}, "clip a: got a score that is NaN or \\+inf"),
        ({"a": [0.1]}, {"a": [0, 1]}, "clip a: got scores of shape"),
        ({"a": [0.1, 0.2]}, {"a": [0, 2]}, "clip a: labels must be 0 or 1"),
        ({"a": [0.1]}, {"b": [0]}, "must name the same clips.*'a', 'b'"),
        ({"a": [0.1, 0.2]}, {"a": [0, 0]}, "0 anomalous and 2 normal"),
        ({}, {}, "got no clip"),
    ],
)
def test_bad_input_is_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        frame_metrics(scores, labels)


def test_curves_take_one_axis_only():
    with pytest.raises(ValueError, match=r"shape \(N,\)"):
        score_curve(np.zeros((2, 2)), np.eye(2))


labelled = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


@settings(max_examples=40, deadline=None)
@given(labelled)
def test_areas_equal_scikit_learn(rows):
    scores, labels = np.array(rows, float).T
    curve = score_curve(scores, labels)
    assert curve.auroc == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))
    assert curve.average_precision == pytest.approx(
        sklearn_metrics.average_precision_score(labels, scores)
    )
    precision, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    assert curve.pr_auc == pytest.approx(sklearn_metrics.auc(recall, precision))
    f1_max, threshold = curve.f1_max()
    assert f1_max == pytest.approx(sklearn_metrics.f1_score(labels, scores >= threshold))
    assert f1_max == pytest.approx(
        max(sklearn_metrics.f1_score(labels, scores >= level) for level in scores)
    )
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


@settings(max_examples=100, deadline=None)
@given(labelled)
def test_auc_identities(rows):
    scores, labels = np.array(rows, float).T
    curve = score_curve(scores, labels)
    assert score_curve(-scores, labels).auroc == pytest.approx(1 - curve.auroc)
    assert score_curve(scores, 1 - labels).auroc == pytest.approx(1 - curve.auroc)
    stretched = score_curve(np.exp(scores), labels)
    assert (stretched.auroc, stretched.eer) == (curve.auroc, curve.eer)
    assert score_curve(labels, labels).auroc == 1.0
    assert score_curve(-scores, labels).eer == pytest.approx(1 - curve.eer)
