from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.detection.self_test import MIN_COSINE, Agreement, compare, drawn_input


def test_the_drawn_image_is_always_the_same_and_has_structure() -> None:
    image = drawn_input()
    assert image.shape == (1, 3, 192, 256)
    assert image.dtype == np.float32
    assert np.array_equal(image, drawn_input())
    assert 0 <= image.min() < 0.1 < 0.9 < image.max() + 0.1 <= 1.1
    assert len(np.unique(image)) > 10_000


@pytest.mark.parametrize(
    ("cosines", "iou", "score", "passed"),
    [
        ((MIN_COSINE, 1.0), 0.9, 0.05, True),
        ((1.0, 0.9989), 1.0, 0.0, False),
        ((1.0, 1.0), 0.89, 0.0, False),
        ((1.0, 1.0), 1.0, 0.051, False),
        ((float("nan"), 1.0), 1.0, 0.0, False),
        ((1.0, float("nan")), 1.0, 0.0, False),
        ((1.0, 1.0), float("nan"), 0.0, False),
        ((1.0, 1.0), 1.0, float("nan"), False),
    ],
)
def test_what_passes(cosines: tuple[float, ...], iou: float, score: float, passed: bool) -> None:
    assert Agreement(cosines, iou, score).passed is passed


def outputs(boxes: list[list[float]], scores: list[float]) -> np.ndarray:
    """Return predictions ``(1, 5, A)`` of one class."""
    return np.concatenate([np.array(boxes), np.array(scores)[:, None]], axis=1).T[None]


def test_levels_and_boxes_are_compared_by_hand() -> None:
    expected = outputs([[10, 10, 4, 4]] * 20 + [[50, 50, 10, 10]], [0.5] * 20 + [0.01])
    got = outputs([[10, 10, 4, 4]] * 19 + [[10, 10, 4, 2], [90, 90, 9, 9]], [0.5] * 18 + [0.3] * 3)
    maps = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])
    shifted = np.array([[4.0, 3.0]]), np.array([[2.0, 0.0]])
    agreement = compare(got, shifted, expected_predictions=expected, expected_maps=maps)
    assert agreement.cosines == pytest.approx((0.96, 1.0))
    assert agreement.iou == pytest.approx(0.5)  # the 21st box is not one of the most confident
    assert agreement.score_difference == pytest.approx(0.2)
