from __future__ import annotations

import importlib.util
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.metrics.region_track import region_track_curves
from tao_anomaly.metrics.regions import RegionTracks, ScoredBoxes
from tao_anomaly.metrics.text_formats import VideoFiles, read_videos

GOLDEN_CASES = (
    "02_all_false_positives",
    "03_half_detected_no_fp",
    "04_interleaved_tp_fp",
    "05_iou_exactly_beta",
    "06_one_det_two_gt",
    "07_duplicates_free",
    "08_alpha_boundary",
    "09_three_videos_fpr_over_1",
    "10_normal_video_no_track_file",
    "11_missing_detection_file",
    "13_ties_tp_first",
    "14_ties_fp_first",
    "15_ties_by_frame",
    "16_num_frames_x2",
)


def golden(shared: Path, case: str) -> tuple[VideoFiles, dict]:
    directory = shared / "golden" / "rbdc_tbdc" / case
    expected = json.loads((directory / "expected.json").read_text())
    return read_videos(directory / "tracks", directory / "anomalies"), expected


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_file_order_reproduces_the_golden_areas_and_curves(shared, case):
    videos, expected = golden(shared, case)
    curves = region_track_curves(
        videos.ground_truth,
        videos.detections,
        num_frames=expected["num_frames"],
        ties="file_order",
    )
    assert curves.rbdc == pytest.approx(expected["rbdc"], abs=1e-9)
    assert curves.tbdc == pytest.approx(expected["tbdc"], abs=1e-9)
    assert (curves.regions, curves.tracks, curves.frames) == (
        expected["n_gt_regions"],
        expected["n_gt_tracks"],
        expected["num_frames"],
    )
    # The golden curve goes on beyond FPR = 1, ours is cut there and closed.
    inside = np.count_nonzero(np.array(expected["fpr"]) <= 1)
    for name in ("fpr", "rbdr", "tbdr"):
        np.testing.assert_allclose(
            getattr(curves, name)[:inside], expected[name][:inside], atol=1e-9
        )
    assert curves.fpr[-1] == 1.0
    assert len(curves.fpr) - inside in (0, 1)


def test_a_file_of_one_row_is_evaluated(shared):
    videos, expected = golden(shared, "12_single_row_file_crashes")
    for ties in ("file_order", "group"):
        curves = region_track_curves(
            videos.ground_truth,
            videos.detections,
            num_frames=expected["num_frames"],
            ties=ties,
        )
        # One of ten regions, which is 10 % of the only track, and no false positive.
        assert (curves.rbdc, curves.tbdc) == (0.1, 1.0)
        np.testing.assert_array_equal(curves.fpr, [0, 0, 1])
        np.testing.assert_array_equal(curves.thresholds, [np.inf, 0.9, 0.9])


@pytest.mark.parametrize("case", ["13_ties_tp_first", "14_ties_fp_first", "15_ties_by_frame"])
def test_grouped_ties_give_one_result_for_every_row_order(shared, case):
    videos, expected = golden(shared, case)
    curves = region_track_curves(
        videos.ground_truth, videos.detections, num_frames=expected["num_frames"]
    )
    # 10 of 10 regions and 20 false positives in 20 frames at once: from (0, 0) straight to (1, 1).
    assert (curves.rbdc, curves.tbdc) == (0.5, 0.5)
    np.testing.assert_array_equal(curves.fpr, [0, 1])


def test_a_group_that_leaps_over_fpr_1_adds_nothing():
    truth = RegionTracks([0, 0], [0, 1], [[0, 0, 9, 9]] * 2)
    hit, tied_hit, *false = [0, 0, 9, 9], [0, 0, 9, 9], *[[50, 50, 59, 59]] * 3
    boxes = ScoredBoxes([0, 1, 0, 0, 1], [hit, tied_hit, *false], [2, 1, 1, 1, 1])
    curves = region_track_curves([truth], [boxes], num_frames=2)
    np.testing.assert_array_equal(curves.fpr, [0, 0, 1])
    assert curves.rbdc == 0.5
    assert region_track_curves([truth], [boxes], num_frames=3).rbdc == 0.75


def test_no_detection_at_all_gives_zero():
    truth = RegionTracks([0], [3], [[0, 0, 9, 9]])
    curves = region_track_curves([truth], [ScoredBoxes.empty()], num_frames=10)
    assert (curves.rbdc, curves.tbdc) == (0.0, 0.0)
    np.testing.assert_array_equal(curves.fpr, [0, 1])


def test_one_track_id_in_two_videos_is_two_tracks():
    truth = RegionTracks([7, 7], [0, 1], [[0, 0, 9, 9]] * 2)
    boxes = ScoredBoxes([0], [[0, 0, 9, 9]], [1.0])
    curves = region_track_curves([truth, truth], [boxes, ScoredBoxes.empty()], num_frames=4)
    assert (curves.tracks, curves.regions) == (2, 4)
    assert (curves.rbdc, curves.tbdc) == (0.25, 0.5)


@pytest.mark.parametrize(("size", "fraction"), [(10, 0.3), (30, 0.1), (100, 0.29), (7, 1.0)])
def test_a_track_is_found_at_the_first_count_that_reaches_the_fraction(size, fraction):
    truth = RegionTracks(np.zeros(size), np.arange(size), [[0, 0, 9, 9]] * size)
    boxes = ScoredBoxes(np.arange(size), truth.boxes, -np.arange(size))
    curves = region_track_curves([truth], [boxes], num_frames=1, track_fraction=fraction)
    first = next(count for count in range(size + 1) if count / size >= fraction)
    np.testing.assert_array_equal(curves.tbdr[: size + 1], np.arange(size + 1) >= first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "num_frames"),
        ({"ties": "random"}, "ties must be one of"),
        ({"iou_threshold": 0.0}, "iou_threshold"),
        ({"track_fraction": 1.5}, "track_fraction"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    truth = RegionTracks([0], [0], [[0, 0, 9, 9]])
    with pytest.raises(ValueError, match=message):
        region_track_curves([truth], [ScoredBoxes.empty()], **{"num_frames": 1, **options})


def test_videos_must_pair_up_and_hold_a_region():
    truth = RegionTracks([0], [0], [[0, 0, 9, 9]])
    with pytest.raises(ValueError, match="1 videos and detections of 0"):
        region_track_curves([truth], [], num_frames=1)
    with pytest.raises(ValueError, match="no video has a ground-truth region"):
        region_track_curves([RegionTracks.empty()], [ScoredBoxes.empty()], num_frames=1)


# Small grids, so that boxes overlap, scores tie and FPR passes 1.
box = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
region = st.tuples(st.integers(0, 2), st.integers(0, 4), box)
detection = st.tuples(st.integers(0, 4), box, st.integers(-3, 3))


def truth_of(rows) -> RegionTracks:
    return RegionTracks(
        [r[0] for r in rows], [r[1] for r in rows], np.reshape([r[2] for r in rows], (-1, 4))
    )


def boxes_of(rows) -> ScoredBoxes:
    return ScoredBoxes(
        [r[0] for r in rows], np.reshape([r[1] for r in rows], (-1, 4)), [r[2] for r in rows]
    )


regions_of_video = st.lists(region, min_size=1, max_size=8, unique_by=lambda r: r[:2])
truths = st.lists(regions_of_video.map(truth_of), min_size=2, max_size=2)
detected = st.lists(st.lists(detection, max_size=12), min_size=2, max_size=2)


def areas_by_threshold(truth, detections, num_frames) -> tuple[float, float]:
    """Grouped RBDC and TBDC as the definition reads: count anew at every threshold."""
    levels = sorted({score for video in detections for score in video.scores}, reverse=True)
    points = [(0.0, 0.0, 0.0)]
    for level in levels:
        false, found_regions, found_tracks, tracks = 0, 0, 0, 0
        for regions, boxes in zip(truth, detections, strict=True):
            found = np.zeros(len(regions), bool)
            for frame, rectangle, score in zip(
                boxes.frames, boxes.boxes, boxes.scores, strict=True
            ):
                hits = [
                    regions.frames[i] == frame and pixel_iou(rectangle, regions.boxes[i]) >= 0.1
                    for i in range(len(regions))
                ]
                if score >= level:
                    false += not any(hits)
                    found |= hits
            found_regions += found.sum()
            for track in np.unique(regions.track_ids):
                found_tracks += found[regions.track_ids == track].mean() >= 0.1
                tracks += 1
        rates = found_regions / sum(map(len, truth)), found_tracks / tracks
        points.append((false / num_frames, *rates))
    points = [point for point in points if point[0] <= 1]
    fpr, rbdr, tbdr = np.array([*points, (1.0, *points[-1][1:])]).T
    return np.trapezoid(rbdr, fpr), np.trapezoid(tbdr, fpr)


def pixel_iou(first, second) -> float:
    """IoU by counting pixels: both corners belong to the box."""
    canvas = np.zeros((2, 16, 16), bool)
    for image, (x1, y1, x2, y2) in zip(
        canvas, (first.astype(int), second.astype(int)), strict=True
    ):
        image[y1 : y2 + 1, x1 : x2 + 1] = True
    return (canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum()


@settings(max_examples=60, deadline=None)
@given(truths, detected, st.integers(1, 12))
def test_grouped_areas_equal_the_definition(truth, rows, num_frames):
    detections = [boxes_of(video) for video in rows]
    curves = region_track_curves(truth, detections, num_frames=num_frames)
    expected = areas_by_threshold(truth, detections, num_frames)
    assert (curves.rbdc, curves.tbdc) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(truths, detected, st.randoms(use_true_random=False))
def test_grouped_ties_do_not_depend_on_row_or_video_order(truth, rows, random):
    curves = region_track_curves(truth, [boxes_of(video) for video in rows], num_frames=4)
    shuffled = [random.sample(video, len(video)) for video in rows]
    again = region_track_curves(
        truth[::-1], [boxes_of(video) for video in shuffled[::-1]], num_frames=4
    )
    assert (again.rbdc, again.tbdc) == (curves.rbdc, curves.tbdc)
    for name in ("fpr", "rbdr", "tbdr", "thresholds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(curves, name))


@settings(max_examples=60, deadline=None)
@given(truths, detected, st.sampled_from(["group", "file_order"]))
def test_only_the_order_of_scores_counts(truth, rows, ties):
    detections = [boxes_of(video) for video in rows]
    curves = region_track_curves(truth, detections, num_frames=4, ties=ties)
    transformed = [replace(video, scores=np.exp(video.scores) - 7) for video in detections]
    again = region_track_curves(truth, transformed, num_frames=4, ties=ties)
    np.testing.assert_array_equal(again.fpr, curves.fpr)
    assert (again.rbdc, again.tbdc) == (curves.rbdc, curves.tbdc)


@settings(max_examples=40, deadline=None)
@given(truths, st.lists(detection, max_size=4))
def test_perfect_detections_give_1(truth, lower_rows):
    perfect = [ScoredBoxes(t.frames, t.boxes, np.full(len(t), 9.0)) for t in truth]
    lower = boxes_of(lower_rows)
    perfect[0] = ScoredBoxes(
        np.append(perfect[0].frames, lower.frames),
        np.vstack([perfect[0].boxes, lower.boxes]),
        np.append(perfect[0].scores, lower.scores),
    )
    curves = region_track_curves(truth, perfect, num_frames=10)
    assert (curves.rbdc, curves.tbdc) == (1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(truths, detected, st.integers(1, 8), st.sampled_from(["group", "file_order"]))
def test_lower_scored_false_positives_never_raise_an_area(truth, rows, count, ties):
    far_away = [(frame % 5, (90, 90, 95, 95), -4 + frame % 2) for frame in range(count)]
    before, after = (
        region_track_curves(truth, [boxes_of(v) for v in videos], num_frames=4, ties=ties)
        for videos in (rows, [rows[0] + far_away, rows[1]])
    )
    assert after.rbdc <= before.rbdc + 1e-12
    assert after.tbdc <= before.tbdc + 1e-12


@pytest.fixture(scope="module")
def speed_script():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "region_track_speed.py"
    spec = importlib.util.spec_from_file_location("region_track_speed", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_the_loop_of_the_speed_script_computes_the_same(shared, case, speed_script):
    videos, expected = golden(shared, case)
    areas = speed_script.curves_by_loop(
        videos.ground_truth, videos.detections, expected["num_frames"]
    )
    assert areas == pytest.approx((expected["rbdc"], expected["tbdc"]), abs=1e-9)


def test_a_test_set_of_shanghaitech_size_takes_less_than_a_second(speed_script):
    ground_truth, detections = speed_script.make_case()
    assert sum(map(len, ground_truth)) == 19_000
    assert sum(map(len, detections)) == 66_000
    start = time.perf_counter()
    curves = region_track_curves(ground_truth, detections, num_frames=speed_script.FRAMES)
    assert time.perf_counter() - start < 1.0
    assert 0.5 < curves.rbdc < curves.tbdc < 1.0
