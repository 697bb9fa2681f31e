from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: source underlay/env.sh")

from benchmarks.soak import Phase, figures, growth


def test_every_image_is_accounted_for() -> None:
    phase = Phase(
        name="steady",
        rate=15.0,
        stamps=list(range(10)),
        memory={"scorer": [(0.0, 100.0), (60.0, 100.0), (120.0, 103.0)]},
        processing=[(40.0, 60.0), (50.0, 70.0), (45.0, 65.0)],
        before={"answered": "100", "left out": "7"},
        after={"answered": "106", "left out": "10"},
    )
    found = figures(dict.fromkeys(range(6), 0.08) | {99: 5.0}, phase)
    assert found["published"] == "10"
    assert found["answered by the detector"] == "6"
    assert found["left out and counted"] == "3"
    assert found["unaccounted"] == "1"
    assert found["scored"] == "6"
    assert found["detector processing, median / p95 ms"] == "45.0 / 65.0"
    assert found["p95 ms"] == found["most ms"] == "80.0"
    assert found["p95 beyond the detector's p95 (aim: 20), ms"] == "15.0"
    assert found["memory of scorer"] == "103 MB, +3.00 MB a minute"


def test_memory_that_stays_has_no_slope() -> None:
    assert growth([(0.0, 10.0), (40.0, 200.0), (50.0, 200.0)]) == "200 MB, +0.00 MB a minute"
