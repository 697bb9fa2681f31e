"""Metrics of each kind of anomaly, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.metrics.by_kind import KindResult, kind_results
from tao_anomaly.metrics.regions import RegionTracks, ScoredBoxes

LEFT, RIGHT, AWAY = [0, 0, 9, 9], [50, 0, 59, 9], [0, 80, 9, 89]
# Ten frames at 5 Hz: a cart left in frames 0 to 3, a runner right in frames 2 to 5.
TRUTH = RegionTracks(
    np.array([1] * 4 + [2] * 4),
    np.array([0, 1, 2, 3, 2, 3, 4, 5]),
    np.array([LEFT] * 4 + [RIGHT] * 4, np.float64),
)
KINDS = {1: "cart", 2: "runner"}
RATE = 5.0


def detections(*rows: tuple[int, list[int], float]) -> ScoredBoxes:
    frames, boxes, scores = zip(*rows, strict=True)
    return ScoredBoxes(np.array(frames), np.array(boxes, np.float64), np.array(scores))


def test_each_kind_counts_its_own_regions() -> None:
    """The cart is found in all 4 frames above every false positive, the runner in 2 of 4 below."""
    found = detections(
        *((frame, LEFT, 9.0) for frame in range(4)),
        (0, AWAY, 5.0),
        (4, RIGHT, 3.0),
        (5, RIGHT, 3.0),
    )
    results = kind_results(
        [TRUTH], [KINDS], [found], num_frames=10, rates=[RATE], alarms=[found.scores >= 3]
    )
    assert results["cart"] == KindResult(
        regions=4, tracks=1, rbdc=1.0, tbdc=1.0, alarmed=1, delay=0.0
    )
    # Nothing up to a rate of 1 / 10 false positives a frame, then half of the regions, held to 1:
    # 0.5 * 0.9; the track, by a tenth of its regions: 0.9. First alarm in frame 4, begun in 2.
    runner = results["runner"]
    assert (runner.regions, runner.tracks) == (4, 1)
    assert runner.rbdc == pytest.approx(0.45)
    assert runner.tbdc == pytest.approx(0.9)
    assert (runner.alarmed, runner.delay) == (1, 2 / RATE)


def test_finding_another_kind_is_no_false_positive() -> None:
    """Were the cart's detections false for the runner, its curve would begin at a rate of 0.4."""
    found = detections(*((frame, LEFT, 9.0) for frame in range(4)), (2, RIGHT, 1.0))
    results = kind_results([TRUTH], [KINDS], [found], num_frames=10, rates=[RATE])
    assert results["runner"].rbdc == pytest.approx(0.25)
    assert (results["runner"].alarmed, results["runner"].delay) == (None, None)


def test_delays_are_medians_over_videos_in_seconds_of_each() -> None:
    late = detections((3, LEFT, 1.0))
    soon = detections((1, LEFT, 1.0), (9, AWAY, 0.0))
    results = kind_results(
        [TRUTH, TRUTH, TRUTH],
        [KINDS] * 3,
        [late, soon, soon],
        num_frames=30,
        rates=[5.0, 10.0, 2.0],
        alarms=[late.scores > 0, soon.scores > 0, soon.scores > 5],
    )
    # 3 frames at 5 Hz and 1 frame at 10 Hz; the third video raises no alarm.
    assert results["cart"].delay == pytest.approx((0.6 + 0.1) / 2)
    assert (results["cart"].alarmed, results["cart"].tracks) == (2, 3)
    assert (results["runner"].alarmed, results["runner"].delay) == (0, None)


def test_a_track_without_a_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no kind of the tracks \[2\]"):
        kind_results([TRUTH], [{1: "cart"}], [ScoredBoxes.empty()], num_frames=10, rates=[RATE])
