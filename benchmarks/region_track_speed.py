"""Time RBDC and TBDC on a test set of ShanghaiTech's size beside a straightforward loop.

``python benchmarks/region_track_speed.py`` prints both times, their ratio and both results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from tao_anomaly.metrics.region_track import region_track_curves
from tao_anomaly.metrics.regions import RegionTracks, ScoredBoxes

FRAMES, VIDEOS = 40_791, 107
TRACKS, REGIONS_A_TRACK = 190, 100
DETECTIONS = 66_000
IMAGE_WIDTH, IMAGE_HEIGHT = 856, 480
PERSON = np.array((30.0, 80.0))  # width and height of a box in pixels
SEED = 0


def make_case() -> tuple[list[RegionTracks], list[ScoredBoxes]]:
    """Return 19,000 regions on 190 tracks and 66,000 detections, about half of them on regions."""
    rng = np.random.default_rng(SEED)
    lengths = np.full(VIDEOS, FRAMES // VIDEOS) + (np.arange(VIDEOS) < FRAMES % VIDEOS)
    ground_truth, detections = [], []
    for video, length in enumerate(lengths):
        own_tracks = len(range(video, TRACKS, VIDEOS))
        truth = _walking_tracks(rng, own_tracks, int(length))
        count = len(range(video, DETECTIONS, VIDEOS))
        ground_truth.append(truth)
        detections.append(_detections(rng, truth, count, int(length)))
    return ground_truth, detections


def _walking_tracks(rng: np.random.Generator, tracks: int, length: int) -> RegionTracks:
    """Return boxes of a person's size that walk through the image."""
    steps = np.tile(np.arange(REGIONS_A_TRACK), tracks)
    track_ids = np.repeat(np.arange(tracks), REGIONS_A_TRACK)
    starts = rng.integers(0, length - REGIONS_A_TRACK, tracks)
    corners = rng.uniform((0, 0), (IMAGE_WIDTH - 250, IMAGE_HEIGHT - 100), (tracks, 2))[track_ids]
    corners[:, 0] += 2.0 * steps
    boxes = np.hstack([corners, corners + PERSON])
    return RegionTracks(track_ids, starts[track_ids] + steps, boxes)


def _detections(
    rng: np.random.Generator, truth: RegionTracks, count: int, length: int
) -> ScoredBoxes:
    """Return `count` boxes: half (none without tracks) near regions and scored higher."""
    near = rng.integers(0, len(truth), count // 2) if len(truth) else np.zeros(0, np.int64)
    far = count - len(near)
    corners = rng.uniform((0, 0), (IMAGE_WIDTH - 30, IMAGE_HEIGHT - 80), (far, 2))
    jittered = truth.boxes[near] + rng.normal(0, 8, (len(near), 1))
    boxes = np.vstack([jittered, np.hstack([corners, corners + PERSON])])
    frames = np.append(truth.frames[near], rng.integers(0, length, far))
    scores = rng.normal(np.repeat((1.5, 0.0), (len(near), far)), 1.0)
    return ScoredBoxes(frames, boxes, scores)


def curves_by_loop(
    ground_truth: Sequence[RegionTracks],
    detections: Sequence[ScoredBoxes],
    num_frames: int,
    *,
    iou_threshold: float = 0.1,
    track_fraction: float = 0.1,
) -> tuple[float, float]:
    """Return RBDC and TBDC as the definition reads: every detection against every track.

    Equal scores keep the order of videos and rows.
    """
    tracks = _region_boxes_by_track(ground_truth)
    regions = sum(len(boxes) for boxes in tracks)
    found: list[set[tuple[int, int]]] = [set() for _ in tracks]
    rows = [
        (score, (video, frame), box)
        for video, boxes in enumerate(detections)
        for score, frame, box in zip(
            boxes.scores.tolist(), boxes.frames.tolist(), boxes.boxes.tolist(), strict=True
        )
    ]
    rows.sort(key=lambda row: -row[0])
    false_positives, found_regions, found_tracks = 0, 0, 0
    curve = [(0.0, 0.0, 0.0)]
    for _, frame, box in rows:
        overlaps_one = False
        for boxes, found_frames in zip(tracks, found, strict=True):
            if frame not in boxes or _iou(box, boxes[frame]) < iou_threshold:
                continue
            overlaps_one = True
            if frame not in found_frames:
                detected_before = len(found_frames) / len(boxes) >= track_fraction
                found_frames.add(frame)
                found_regions += 1
                found_tracks += (
                    not detected_before and len(found_frames) / len(boxes) >= track_fraction
                )
        false_positives += not overlaps_one
        rates = found_regions / regions, found_tracks / len(tracks)
        curve.append((false_positives / num_frames, *rates))
    inside = [point for point in curve if point[0] <= 1]
    fpr, rbdr, tbdr = np.array([*inside, (1.0, *inside[-1][1:])]).T
    return float(np.trapezoid(rbdr, fpr)), float(np.trapezoid(tbdr, fpr))


def _region_boxes_by_track(
    ground_truth: Sequence[RegionTracks],
) -> list[dict[tuple[int, int], list[float]]]:
    """Return, for each track of each video, its boxes by (video, frame)."""
    tracks: dict[tuple[int, int], dict[tuple[int, int], list[float]]] = {}
    for video, truth in enumerate(ground_truth):
        for track, frame, box in zip(
            truth.track_ids.tolist(), truth.frames.tolist(), truth.boxes.tolist(), strict=True
        ):
            tracks.setdefault((video, track), {})[video, frame] = box
    return list(tracks.values())


def _iou(box: list[float], other: list[float]) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0]) + 1
    height = min(box[3], other[3]) - max(box[1], other[1]) + 1
    intersection = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)]
    return intersection / (sum(areas) - intersection)


def timed(function: Callable[[], tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """Return the seconds a call took, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    """Print both times and results."""
    ground_truth, detections = make_case()

    def vectorised() -> tuple[float, float]:
        curves = region_track_curves(ground_truth, detections, num_frames=FRAMES, ties="file_order")
        return curves.rbdc, curves.tbdc

    seconds, areas = timed(vectorised)
    loop_seconds, loop_areas = timed(lambda: curves_by_loop(ground_truth, detections, FRAMES))
    regions = sum(map(len, ground_truth))
    print(f"{DETECTIONS} detections, {regions} regions, {TRACKS} tracks, {FRAMES} frames")
    print(f"vectorised {seconds:8.3f} s  RBDC {areas[0]:.6f}  TBDC {areas[1]:.6f}")
    print(f"loop       {loop_seconds:8.3f} s  RBDC {loop_areas[0]:.6f}  TBDC {loop_areas[1]:.6f}")
    print(f"ratio      {loop_seconds / seconds:8.1f}")


if __name__ == "__main__":
    main()
