from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.metrics.operating_point import region_f1, track_f1
from tao_anomaly.metrics.regions import RegionTracks, ScoredBoxes

PERSON, ELSEWHERE = [0, 0, 9, 9], [50, 50, 59, 59]


def walk(frames, *, track=0) -> RegionTracks:
    return RegionTracks([track] * len(frames), frames, [PERSON] * len(frames))


def test_region_f1_counts_boxes_at_or_above_the_threshold():
    truth = walk([0, 1, 2])
    boxes = ScoredBoxes([0, 1, 2, 2], [PERSON] * 3 + [ELSEWHERE], [0.9, 0.5, 0.4, 0.5])
    point = region_f1([truth], [boxes], threshold=0.5)
    assert (point.correct, point.raised, point.found, point.present) == (2, 3, 2, 3)
    assert (point.precision, point.recall, point.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_region_f1_matches_one_to_one():
    truth = RegionTracks([0, 1], [0, 0], [[0, 0, 9, 9], [0, 5, 9, 14]])
    both = [0, 2, 9, 12]
    one = region_f1([truth], [ScoredBoxes([0], [both], [1.0])], threshold=0)
    assert (one.correct, one.raised, one.present) == (1, 1, 2)
    copies = ScoredBoxes([0, 0, 0], [both] * 3, [1.0] * 3)
    assert region_f1([truth], [copies], threshold=0).precision == pytest.approx(2 / 3)
    # The box over both regions must leave the first one to the box that has no other.
    pair = ScoredBoxes([0, 0], [both, [0, 0, 9, 4]], [2.0, 1.0])
    assert region_f1([truth], [pair], threshold=0).f1 == 1.0


def test_the_overlap_bound_is_two_tenths_inclusive():
    truth = walk([0])
    fifth = ScoredBoxes([0], [[0, 0, 9, 1]], [1.0])  # 20 of 100 pixels
    less = ScoredBoxes([0], [[0, 0, 18, 0]], [1.0])  # 10 of 109 pixels
    assert region_f1([truth], [fifth], threshold=1).f1 == 1.0
    assert region_f1([truth], [less], threshold=1).f1 == 0.0


def test_nothing_raised_is_zero_not_an_error():
    for function in (region_f1, track_f1):
        for boxes in (ScoredBoxes.empty(), ScoredBoxes([0], [PERSON], [0.1], np.array(["0-1"]))):
            point = function([walk([0, 1, 2])], [boxes], threshold=0.5)
            assert (point.raised, point.precision, point.recall, point.f1) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("frames", "is_found"),
    [([0, 1, 2], True), ([0, 2, 4], True), ([0, 2, 5], False), ([0, 1], False), ([7, 9, 9], False)],
)
def test_a_track_is_found_by_3_of_5_consecutive_frames(frames, is_found):
    boxes = ScoredBoxes(frames, [PERSON] * len(frames), [1.0] * len(frames), ["0-1"] * len(frames))
    point = track_f1([walk(range(10))], [boxes], threshold=0.5)
    expected = (1, 1, 1, 1) if is_found else (0, 0, 0, 1)
    assert (point.correct, point.raised, point.found, point.present) == expected


def test_track_precision_counts_predicted_tracks_that_raise_an_alarm():
    frames = [0, 1, 2, 0, 1, 2, 0, 1]
    rectangles = [PERSON] * 3 + [ELSEWHERE] * 3 + [ELSEWHERE] * 2
    boxes = ScoredBoxes(frames, rectangles, [1.0] * 8, list("aaabbbcc"))
    point = track_f1([walk(range(5))], [boxes], threshold=0.5)
    # a is right, b is a false alarm, c has only two boxes.
    assert (point.correct, point.raised, point.found, point.present) == (1, 2, 1, 1)
    assert (point.precision, point.recall) == (0.5, 1.0)


def test_a_track_found_by_two_predicted_ones_in_turn():
    boxes = ScoredBoxes([0, 1, 2], [PERSON] * 3, [1.0] * 3, ["a", "b", "a"])
    point = track_f1([walk(range(5))], [boxes], threshold=0.5)
    assert (point.raised, point.found) == (0, 1)


def test_tracks_of_different_videos_do_not_add_up():
    truth = [walk([0, 1]), walk([2, 3])]
    boxes = [
        ScoredBoxes([0, 1], [PERSON] * 2, [1.0] * 2, ["a"] * 2),
        ScoredBoxes([2, 3], [PERSON] * 2, [1.0] * 2, ["a"] * 2),
    ]
    point = track_f1(truth, boxes, threshold=0.5)
    assert (point.raised, point.found, point.present) == (0, 0, 2)


def test_track_f1_needs_track_ids():
    boxes = ScoredBoxes([0], [PERSON], [1.0])
    with pytest.raises(ValueError, match="track_f1 needs the track of every box"):
        track_f1([walk([0])], [boxes], threshold=0.5)


rows = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3), st.sampled_from("ab")),
    min_size=1,
    max_size=15,
)


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_row_order_means_nothing_and_recall_falls_with_the_threshold(rows, random):
    def point(function, rows, threshold):
        frames, hits, scores, tracks = zip(*rows, strict=True)
        rectangles = [PERSON if hit else ELSEWHERE for hit in hits]
        boxes = ScoredBoxes(frames, rectangles, scores, tracks)
        return function([walk(range(7))], [boxes], threshold=threshold)

    for function in (region_f1, track_f1):
        points = [point(function, rows, threshold) for threshold in (1, 2, 3)]
        shuffled = random.sample(rows, len(rows))
        assert [point(function, shuffled, threshold) for threshold in (1, 2, 3)] == points
        for lower, higher in pairwise(points):
            assert higher.found <= lower.found
            assert higher.raised <= lower.raised
