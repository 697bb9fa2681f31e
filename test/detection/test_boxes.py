from __future__ import annotations

import numpy as np

from tao_anomaly.detection.boxes import area, grown, intersection, iou, share_inside

A = np.array([[0, 0, 10, 10], [0, 0, 4, 5], [8, 8, 2, 2]], np.float32)  # the last is inverted
B = np.array([[5, 0, 15, 10], [20, 20, 30, 30]], np.float32)


def test_areas_and_intersections_by_hand() -> None:
    assert area(A).tolist() == [100, 20, 0]
    assert intersection(A, B).tolist() == [[50, 0], [0, 0], [0, 0]]


def test_iou_by_hand_is_zero_for_boxes_without_area() -> None:
    np.testing.assert_allclose(iou(A, B), [[50 / 150, 0], [0, 0], [0, 0]], rtol=1e-6)
    assert iou(A[2:], A[2:]).tolist() == [[0]]


def test_share_inside_is_relative_to_the_first_box() -> None:
    np.testing.assert_allclose(share_inside(A[1:2], A), [[1, 1, 0]])
    np.testing.assert_allclose(share_inside(A[:1], A[1:2]), [[0.2]])


def test_grown_boxes_keep_their_centre() -> None:
    np.testing.assert_allclose(grown(B, 1.2), [[4, -1, 16, 11], [19, 19, 31, 31]])


def test_no_boxes_give_empty_tables() -> None:
    none = np.zeros((0, 4), np.float32)
    assert iou(none, B).shape == (0, 2)
    assert iou(A, none).shape == (3, 0)
