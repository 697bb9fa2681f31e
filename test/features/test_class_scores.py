"""Class scores pooled over boxes, against what they are by hand and by their definition."""

from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.detection.boxes import share_inside
from tao_anomaly.features.class_scores import class_scores
from tao_anomaly.structures import Candidates

PERSON, BICYCLE, BOARD = range(3)


def test_a_box_has_the_scores_of_what_lies_in_it() -> None:
    candidates = Candidates(
        np.array(
            [
                [100, 100, 140, 200],  # a rider
                [102, 98, 141, 205],  # once more, less sure
                [90, 150, 150, 220],  # the bicycle: 40 x 50 of its 60 x 70 pixels in the rider
                [110, 190, 130, 205],  # a board: 20 x 10 of its 20 x 15 pixels
                [300, 100, 340, 200],  # a walker elsewhere
            ],
            np.float32,
        ),
        np.array(
            [
                [0.9, 0.3, 0.04],
                [0.7, 0.4, 0.0],
                [0.0, 0.8, 0.0],
                [0.0, 0.0, 0.2],
                [0.6, 0.0, 0.0],
            ],
            np.float32,
        ),
    )
    rider, walker, nobody = class_scores(
        np.array([[100, 100, 140, 200], [300, 100, 340, 200], [500, 0, 510, 9]], np.float32),
        candidates,
    )
    # less than half of the bicycle's own box is in the rider's; 0.04 tells nothing
    np.testing.assert_allclose(rider, [0.9, 0.4, 0.2])
    np.testing.assert_allclose(walker, [0.6, 0, 0])
    assert not nobody.any()
    (both,) = class_scores(np.array([[90, 100, 150, 220]], np.float32), candidates)
    np.testing.assert_allclose(both, [0.9, 0.8, 0.2])


@pytest.mark.parametrize("seed", range(3))
def test_they_are_the_highest_among_the_candidates_inside(seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(count: int) -> np.ndarray:
        corners = random.uniform(0, 90, (count, 2))
        sides = random.uniform(1, 60, (count, 2))
        return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)

    boxes = some(12)
    table = (random.random((200, 5)) * (random.random((200, 5)) < 0.3)).astype(np.float32)
    candidates = Candidates(some(200), table)
    found = class_scores(boxes, candidates)
    for box, scores in zip(boxes, found, strict=True):
        inside = share_inside(candidates.boxes, box[None])[:, 0] >= 0.5
        told = np.where(table >= 0.05, table, 0)[inside]
        np.testing.assert_array_equal(scores, told.max(axis=0, initial=0))


def test_nothing_gives_nothing() -> None:
    none = Candidates(np.zeros((0, 4), np.float32), np.zeros((0, 7), np.float32))
    assert class_scores(np.ones((2, 4), np.float32), none).tolist() == [[0] * 7] * 2
    some = Candidates(np.ones((1, 4), np.float32), np.ones((1, 7), np.float32))
    assert class_scores(np.zeros((0, 4), np.float32), some).shape == (0, 7)
