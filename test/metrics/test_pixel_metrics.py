from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from tao_anomaly.metrics.pixel import PixelAccumulator, PixelMetrics, pixel_metrics

AREAS = ("auroc", "average_precision", "f1_max", "aupro")


def accumulated(score_maps, masks, **options) -> PixelMetrics:
    accumulator = PixelAccumulator(**options)
    for score_map, mask in zip(score_maps, masks, strict=True):
        accumulator.update(score_map, mask)
    return accumulator.compute()


@pytest.fixture(scope="module")
def golden(shared):
    directory = shared / "golden" / "tao_pixel"
    with np.load(directory / "inputs.npz") as inputs:
        arrays = {name: inputs[name] for name in inputs}
    return arrays, json.loads((directory / "expected.json").read_text())


@pytest.mark.parametrize(("maps", "key"), [("binary", "binary_masks"), ("soft", "soft_map")])
@pytest.mark.parametrize("evaluate", [pixel_metrics, accumulated])
def test_pooled_areas_equal_the_golden_ones(golden, maps, key, evaluate):
    arrays, expected = golden
    result = evaluate(arrays[maps], arrays["gt"])
    pooled = expected[key]["pooled_over_all_frames"]
    assert result.auroc == pytest.approx(pooled["auroc"], abs=1e-9)
    assert result.average_precision == pytest.approx(pooled["ap"], abs=1e-9)
    assert result.curve.pr_auc == pytest.approx(pooled["pr_auc_trapezoid"], abs=1e-9)
    assert result.f1_max == pytest.approx(pooled["f1_max"], abs=1e-9)
    assert result.regions == expected[key]["n_regions"]
    assert (result.auroc_error, result.aupro_error) == (0, 0)


@pytest.mark.parametrize(("maps", "key"), [("binary", "binary_masks"), ("soft", "soft_map")])
def test_aupro_equals_the_golden_one_at_the_thresholds_it_was_taken_at(golden, maps, key):
    arrays, expected = golden
    result = pixel_metrics(arrays[maps], arrays["gt"])
    golden_aupro = expected[key]["aupro_per_region_overlap_fpr0.3"]
    # The golden value samples 4,000 thresholds; all 73,679 of the soft map differ by 2.3e-6.
    assert result.sampled_aupro(4000) == pytest.approx(golden_aupro, abs=1e-9)
    assert result.aupro == pytest.approx(golden_aupro, abs=3e-6)


def test_aupro_worked_out_by_hand():
    mask = np.zeros((1, 14), bool)
    mask[0, :1] = mask[0, 2:4] = True  # regions of 1 and 2 pixels, 11 normal pixels
    scores = np.zeros((1, 14))
    scores[0, 0], scores[0, 2], scores[0, 5] = 3, 1, 2
    result = pixel_metrics([scores], [mask])
    assert result.regions == 2
    # PRO over FPR: 1/2 at 0; 1/2 at 1/11; (1 + 1/2) / 2 at 1/11; 1 at 1. To 0.3 on a straight line.
    np.testing.assert_allclose(result.pro, [0, 1 / 2, 1 / 2, 3 / 4, 1])
    np.testing.assert_allclose(result.curve.fpr, [0, 0, 1 / 11, 1 / 11, 1])
    at_limit = 3 / 4 + (0.3 - 1 / 11) / (10 / 11) / 4
    area = 1 / 22 + (0.3 - 1 / 11) * (3 / 4 + at_limit) / 2
    assert result.aupro == pytest.approx(area / 0.3)


def test_regions_touching_at_a_corner_are_one():
    mask = np.eye(3, dtype=bool)
    assert pixel_metrics([np.eye(3)], [mask]).regions == 1
    assert pixel_metrics([np.eye(3)] * 2, [mask] * 2).regions == 2


def slow_areas(score_maps, masks, limit=0.3):
    """AUROC and AUPRO as the definitions read, threshold by threshold, region by region."""
    regions = []  # boolean maps of one region each, found by flooding from pixel to pixel
    for mask in masks:
        left = set(zip(*np.nonzero(mask), strict=True))
        while left:
            region, edge = set(), [left.pop()]
            while edge:
                y, x = edge.pop()
                region.add((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                edge.extend(near)
            regions.append((len(regions), mask, region))
    frames = [id(mask) for mask in masks]
    normal = sum((~mask).sum() for mask in masks)
    points = [(0.0, 0.0)]
    for level in sorted(set(np.concatenate([s.ravel() for s in score_maps])), reverse=True):
        false = sum(((s >= level) & ~m).sum() for s, m in zip(score_maps, masks, strict=True))
        shares = [
            np.mean([score_maps[frames.index(id(mask))][pixel] >= level for pixel in region])
            for _, mask, region in regions
        ]
        points.append((false / normal, np.mean(shares)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


maps_and_masks = st.integers(1, 3).flatmap(
    lambda frames: st.tuples(
        hnp.arrays(np.int8, (frames, 4, 5), elements=st.integers(-3, 3)),
        hnp.arrays(np.bool_, (frames, 4, 5)).filter(lambda m: m.any() and not m.all()),
    )
)


@settings(max_examples=60, deadline=None)
@given(maps_and_masks)
def test_pixel_areas_equal_slow_restatements(case):
    score_maps, masks = case
    result = pixel_metrics(score_maps, masks)
    labels, scores = masks.ravel(), score_maps.ravel()
    assert result.aupro == pytest.approx(slow_areas(list(score_maps), list(masks)), abs=1e-12)
    assert result.auroc == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))
    assert result.average_precision == pytest.approx(
        sklearn_metrics.average_precision_score(labels, scores)
    )
    assert result.f1_max == pytest.approx(
        sklearn_metrics.f1_score(labels, scores >= result.f1_max_threshold)
    )


@settings(max_examples=60, deadline=None)
@given(maps_and_masks)
def test_only_the_order_of_scores_counts(case):
    score_maps, masks = case
    result = pixel_metrics(score_maps, masks)
    again = pixel_metrics(np.exp(score_maps.astype(float)), masks)
    for name in AREAS:
        assert getattr(again, name) == getattr(result, name)
    best = pixel_metrics(masks.astype(float), masks)
    assert [getattr(best, name) for name in AREAS] == pytest.approx([1, 1, 1, 1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 1 / 255, 1.0]))
def test_streaming_is_exact_on_quantised_scores(seed, step):
    rng = np.random.default_rng(seed)
    score_maps = np.round(rng.normal(0, 20, (9, 30, 40))) * step
    masks = rng.random((9, 30, 40)) < 0.2
    exact = pixel_metrics(score_maps, masks)
    # Few enough levels that the pending frames are merged again and again.
    streamed = accumulated(score_maps, masks, max_levels=2**12)
    np.testing.assert_array_equal(streamed.curve.thresholds, exact.curve.thresholds)
    assert (streamed.auroc_error, streamed.aupro_error) == (0, 0)
    for name in AREAS:
        assert getattr(streamed, name) == pytest.approx(getattr(exact, name), abs=1e-12)


def test_streaming_stays_bounded_and_within_its_error_on_continuous_scores():
    rng = np.random.default_rng(0)
    masks = np.zeros((60, 48, 64), bool)
    masks[:, 10:30, 20:40] = True
    score_maps = rng.normal(0, 1, masks.shape) + masks
    exact = pixel_metrics(score_maps, masks)
    streamed = accumulated(score_maps, masks, max_levels=2**16)
    assert len(exact.pro) == masks.size + 1
    assert 2**14 < len(streamed.pro) <= 2**16 + 1
    for name in AREAS:
        assert getattr(streamed, name) == pytest.approx(getattr(exact, name), abs=1e-4)
    assert 0 < abs(streamed.auroc - exact.auroc) <= streamed.auroc_error < 1e-4
    assert 0 < abs(streamed.aupro - exact.aupro) <= streamed.aupro_error < 1e-4
    # A threshold of the histogram is a lower bound, so its counts are those of the pixels.
    at = len(streamed.pro) // 3
    flagged = score_maps >= streamed.curve.thresholds[at]
    assert streamed.curve.true_positives[at] == (flagged & masks).sum()
    assert streamed.curve.false_positives[at] == (flagged & ~masks).sum()


@pytest.mark.parametrize("background", [0.0, -np.inf, -9.0])
def test_an_exact_background_stays_exact_when_other_scores_merge(background):
    rng = np.random.default_rng(1)
    masks = rng.random((4, 100, 100)) < 0.3
    score_maps = np.where(rng.random(masks.shape) < 0.5, background, rng.normal(0, 1, masks.shape))
    streamed = accumulated(score_maps, masks, max_levels=2**12)
    # Half of the pixels tie there; counted as merged, that tie alone would bring 0.25.
    assert 0 < streamed.auroc_error < 0.01


def test_signs_of_zero_and_minus_infinity_are_scores_like_others():
    mask = np.array([[True, False, False, True]])
    result = pixel_metrics([np.array([[-0.0, 0.0, -np.inf, 1.0]])], [mask])
    np.testing.assert_array_equal(result.curve.thresholds, [np.inf, 1, 0, -np.inf])
    assert result.auroc == pytest.approx((1 + 1 + 1 + 0.5) / 4)


def test_frames_may_differ_in_size_and_hold_one_class():
    scores = [np.array([[1.0, 0.0]]), np.array([[2.0], [3.0], [0.0]])]
    masks = [np.array([[0, 0]]), np.array([[1], [1], [1]])]
    result = accumulated(scores, masks)
    # Anomalous 2, 3, 0 against normal 1, 0: 4 pairs won, one tied, one lost.
    assert result.auroc == pytest.approx(4.5 / 6)
    assert result.regions == 1


def test_bad_input_is_refused():
    accumulator = PixelAccumulator()
    with pytest.raises(ValueError, match="got no pixel"):
        accumulator.compute()
    with pytest.raises(ValueError, match="NaN or"):
        accumulator.update([[np.nan]], [[0]])
    with pytest.raises(ValueError, match="shape"):
        accumulator.update([[0.0, 1.0]], [[0]])
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        accumulator.update([0.0], [0])
    accumulator.update([[0.0]], [[0]])
    with pytest.raises(ValueError, match="0 anomalous and 1 normal"):
        accumulator.compute()
    with pytest.raises(ValueError, match="max_levels"):
        PixelAccumulator(max_levels=10)
    with pytest.raises(ValueError, match="fpr_limit"):
        PixelAccumulator(fpr_limit=0)
