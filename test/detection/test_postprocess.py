from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.letterbox import Letterbox
from tao_anomaly.detection.postprocess import (
    LEAST_SCORE,
    suppress_parts,
    to_candidates,
    to_detections,
)
from tao_anomaly.structures import Detections

SAME = Letterbox.fit((320, 640), input_size=640)  # scale 1, no padding
ALL_PARTS = DetectorConfig(part_overlap=1.0, nms_iou=0.7)


def predictions_of(boxes: object, scores: object) -> np.ndarray:
    """Return ``(4 + C, A)`` as the network gives them: centre, size and one score a class."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    return np.concatenate([centre, size, np.array(scores, np.float32)], axis=1).T


def objects_of(predictions: np.ndarray, letterbox: Letterbox, config: DetectorConfig) -> Detections:
    return to_detections(to_candidates(predictions, config), letterbox, config)


def test_suppression_by_hand() -> None:
    boxes = [
        [0, 0, 100, 60],  # 0.60 of the best: another object
        [0, 0, 100, 100],  # the best
        [0, 0, 100, 80],  # 0.80 of the best, same class: a duplicate
        [0, 0, 100, 90],  # 0.90 of the best, another class: another object
        [300, 100, 400, 200],  # elsewhere, below the lowest confidence
    ]
    scores = [[0.6, 0], [0.9, 0.1], [0.8, 0], [0.2, 0.7], [0.04, 0.04]]
    found = objects_of(predictions_of(boxes, scores), SAME, ALL_PARTS)
    assert found.boxes.tolist() == [boxes[1], boxes[3], boxes[0]]
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6])
    assert found.class_ids.tolist() == [0, 1, 0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = [[0, 0, 100, 100], [20, 0, 120, 100], [40, 0, 140, 100]]  # neighbours share 2/3
    config = replace(ALL_PARTS, nms_iou=0.5)
    found = objects_of(predictions_of(boxes, [[0.9], [0.8], [0.7]]), SAME, config)
    assert found.boxes.tolist() == [boxes[0], boxes[2]]


def test_parts_are_dropped_by_the_share_inside_a_more_confident_box() -> None:
    boxes = np.array(
        [
            [100, 100, 140, 200],  # a rider
            [100, 180, 140, 220],  # half of a crate is behind the rider: 0.4 times as large
            [100, 160, 135, 202],  # nearly all inside: 40 of 42 rows, 0.37 times as large
            [90, 90, 160, 220],  # larger: not inside the rider, though the rider is inside it
        ],
        np.float32,
    )
    found = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.arange(4))
    assert suppress_parts(found, 0.8).class_ids.tolist() == [0, 1, 3]
    assert suppress_parts(found, 0.5).class_ids.tolist() == [0, 3]
    assert suppress_parts(found, 0.96).class_ids.tolist() == [0, 1, 2, 3]
    assert suppress_parts(found, 1.0) is found


def test_a_small_box_is_a_part_also_where_it_sticks_out() -> None:
    boxes = np.array(
        [
            [100, 100, 140, 200],  # a rider, grown by a tenth of the sides: 96, 90, 144, 210
            [110, 200, 130, 220],  # a board under the feet: half of it within that
            [110, 201, 130, 221],  # a little less than half of it
            [60, 201, 130, 221],  # not small: 0.35 times the rider
        ],
        np.float32,
    )
    found = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.arange(4))
    assert suppress_parts(found.select(np.array([0, 1])), 0.5).class_ids.tolist() == [0]
    assert suppress_parts(found.select(np.array([0, 2])), 0.5).class_ids.tolist() == [0, 2]
    assert suppress_parts(found.select(np.array([0, 3])), 0.5).class_ids.tolist() == [0, 3]
    # A board surer than its rider is an object of its own, and so is the rider.
    surer = Detections(boxes[:2], np.array([0.7, 0.8], np.float32), np.arange(2))
    assert suppress_parts(surer.select(np.array([1, 0])), 0.5).class_ids.tolist() == [1, 0]


def test_what_is_kept_takes_in_its_parts_of_another_class() -> None:
    boxes = np.array(
        [
            [105, 150, 175, 220],  # a bicycle
            [110, 90, 170, 215],  # its rider: 65 of 125 rows inside
            [120, 190, 180, 230],  # another part of it, which sticks out too
            [112, 100, 160, 140],  # a part of the rider alone
            [300, 150, 380, 220],  # nothing of its own
        ],
        np.float32,
    )
    scores = np.linspace(0.9, 0.5, 5, dtype=np.float32)
    found = suppress_parts(Detections(boxes, scores, np.array([1, 0, 2, 0, 1])), 0.5)
    assert found.class_ids.tolist() == [1, 1]
    np.testing.assert_allclose(found.scores, scores[[0, 4]])
    np.testing.assert_array_equal(found.boxes, [[105, 90, 180, 230], boxes[4]])
    # The rider surer than the bicycle: the same whole.
    rider_first = Detections(boxes[[1, 0]], scores[:2], np.array([0, 1]))
    whole = suppress_parts(rider_first, 0.5)
    assert whole.class_ids.tolist() == [0]
    np.testing.assert_array_equal(whole.boxes, [[105, 90, 175, 220]])
    # Of one class they may be two persons: nothing is joined.
    alone = suppress_parts(replace(rider_first, class_ids=np.array([0, 0])), 0.5)
    np.testing.assert_array_equal(alone.boxes, boxes[[1]])


def test_a_part_joins_the_surest_it_lies_in() -> None:
    boxes = np.array([[0, 0, 100, 100], [90, 0, 190, 100], [80, 40, 120, 140]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 0, 1]))
    whole = suppress_parts(found, 0.3)  # 0.3 of it in the first, 0.45 in the second
    np.testing.assert_array_equal(whole.boxes, [[0, 0, 120, 140], boxes[1]])
    assert found.boxes.tolist() == boxes.tolist()


def test_boxes_are_clipped_to_the_image_and_slivers_dropped() -> None:
    boxes = [[-20, -10, 30, 40], [630, 300, 700, 400], [-50, 10, 0.5, 60], [700, 0, 800, 50]]
    found = objects_of(predictions_of(boxes, [[0.5], [0.9], [0.8], [0.7]]), SAME, ALL_PARTS)
    assert found.boxes.tolist() == [[630, 300, 640, 320], [0, 0, 30, 40]]
    assert found.boxes.dtype == np.float32


def test_boxes_come_back_in_pixels_of_the_source() -> None:
    letterbox = Letterbox.fit((240, 360), input_size=640)
    source = np.array([[30, 40, 90, 200]], np.float32)
    predictions = predictions_of(letterbox.to_input(source), [[0.9]])
    found = objects_of(predictions, letterbox, ALL_PARTS)
    np.testing.assert_allclose(found.boxes, source, atol=0.01)


def test_only_the_best_are_kept() -> None:
    boxes = [[50 * i, 0, 50 * i + 40, 40] for i in range(10)]
    scores = [[0.1 + 0.05 * ((7 * i) % 10)] for i in range(10)]
    config = replace(ALL_PARTS, max_detections=3)
    found = objects_of(predictions_of(boxes, scores), SAME, config)
    np.testing.assert_allclose(found.scores, [0.55, 0.5, 0.45], rtol=1e-6)
    assert found.excess == 7
    config = replace(ALL_PARTS, max_detections=10)
    assert objects_of(predictions_of(boxes, scores), SAME, config).excess == 0


def test_nothing_and_nan_give_no_detection() -> None:
    scores = [[0.01], [np.nan]]
    found = objects_of(predictions_of([[0, 0, 9, 9]] * 2, scores), SAME, DetectorConfig())
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_candidates_are_all_that_tell_something_best_first() -> None:
    boxes = [[0, 0, 10, 20], [0, 0, 10, 22], [5, 5, 9, 9], [0, 0, 3, 3], [1, 1, 2, 2]]
    scores = [[0.3, 0.2], [0.8, 0.01], [0.02, 0.06], [0.04, 0.04], [np.nan, 0.9]]
    predictions = predictions_of(boxes, scores)
    found = to_candidates(predictions, replace(ALL_PARTS, confidence=0.5))
    np.testing.assert_allclose(found.boxes, [boxes[1], boxes[0], boxes[2]])
    np.testing.assert_allclose(found.class_scores, [scores[1], scores[0], scores[2]])
    assert LEAST_SCORE == 0.05
    # The confidence is asked of objects; below it they are looked for with their candidates.
    assert len(to_detections(found, SAME, replace(ALL_PARTS, confidence=0.5))) == 1
    assert len(to_candidates(predictions, replace(ALL_PARTS, confidence=0.03))) == 4


def greedy(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, limit: float) -> list[int]:
    """Non-maximum suppression as it is defined, box by box."""
    kept: list[int] = []
    for i in np.argsort(-scores):
        for j in kept:
            sides = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            shared = np.prod(np.maximum(sides, 0))
            areas = np.prod(boxes[i, 2:] - boxes[i, :2]) + np.prod(boxes[j, 2:] - boxes[j, :2])
            if classes[i] == classes[j] and shared / (areas - shared) > limit:
                break
        else:
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_equals_its_definition_on_crowds(seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform([0, 0], [500, 200], (300, 2))
    boxes = np.concatenate([corner, corner + random.uniform(40, 100, (300, 2))], axis=1)
    scores = random.permutation(300) / 400 + 0.1
    classes = random.integers(0, 3, 300)
    table = np.zeros((300, 3))
    table[np.arange(300), classes] = scores
    config = replace(ALL_PARTS, nms_iou=0.4, max_detections=256)
    found = objects_of(predictions_of(boxes, table), SAME, config)
    expected = greedy(boxes, scores, classes, 0.4)[:256]
    np.testing.assert_allclose(found.scores, scores[expected], rtol=1e-6)
    assert found.class_ids.tolist() == classes[expected].tolist()
    np.testing.assert_allclose(found.boxes, boxes[expected].clip(0, [640, 320] * 2), atol=1e-3)
