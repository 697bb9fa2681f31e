from __future__ import annotations

import json

import numpy as np
import pytest

from tao_anomaly.metrics.tao_pixel import tao_pixel_metrics

GOLDEN_NAMES = {
    "auroc": "auroc",
    "average_precision": "ap",
    "pr_auc": "aupro_as_TAO_computes_it(PR-AUC trapezoid)",
    "f1": "f1_at_0.5",
}


@pytest.mark.parametrize(("maps", "key"), [("binary", "binary_masks"), ("soft", "soft_map")])
def test_the_variants_equal_the_golden_means_and_rows(shared, maps, key):
    directory = shared / "golden" / "tao_pixel"
    expected = json.loads((directory / "expected.json").read_text())[key]
    with np.load(directory / "inputs.npz") as inputs:
        score_maps, masks = inputs[maps], inputs["gt"]
    result = tao_pixel_metrics(score_maps, masks)
    means = expected["TAO_code_mean_over_positive_frames"]
    for name, golden_name in GOLDEN_NAMES.items():
        assert getattr(result, name) == pytest.approx(means[golden_name], abs=1e-6)
    rows = expected["per_frame_TAO_rows"]
    assert result.frames == len(rows)
    positive = [index for index, mask in enumerate(masks) if mask.any()]
    for index, row in zip(positive, rows, strict=True):
        one = tao_pixel_metrics([score_maps[index]], [masks[index]])
        assert [getattr(one, name) for name in GOLDEN_NAMES] == pytest.approx(row, abs=1e-6)


def test_false_alarms_on_normal_frames_cost_nothing_here():
    mask = np.array([[1, 0]])
    hit, alarm = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    result = tao_pixel_metrics([hit, alarm], [mask, np.zeros((1, 2))])
    assert (result.auroc, result.f1, result.frames) == (1.0, 1.0, 1)


def test_undefined_cases_are_refused():
    with pytest.raises(ValueError, match="no mask has an anomalous pixel"):
        tao_pixel_metrics([np.ones((2, 2))], [np.zeros((2, 2))])
    with pytest.raises(ValueError, match="frame 1: got 4 anomalous and 0 normal"):
        tao_pixel_metrics([np.ones((2, 2))] * 2, [np.eye(2), np.ones((2, 2))])
    with pytest.raises(ValueError, match="frame 0: got a score that is NaN"):
        tao_pixel_metrics([[[np.nan]]], [[[1]]])
