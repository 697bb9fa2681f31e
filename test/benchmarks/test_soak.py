from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: source underlay/env.sh")

from benchmarks.soak import (
    LATENCY,
    PROCESSING,
    WAITING,
    WATCHER,
    Phase,
    figures,
    growth,
    note_times,
)
from tao_anomaly.nodes.traffic import Recent


def test_every_image_is_accounted_for() -> None:
    phase = Phase(
        name="steady",
        rate=15.0,
        stamps=list(range(10)),
        memory={"scorer": [(0.0, 100.0), (60.0, 100.0), (120.0, 103.0)]},
        times={
            ("detector", PROCESSING): [(40.0, 60.0), (50.0, 70.0), (45.0, 65.0)],
            ("scorer", LATENCY): [(70.0, 90.0)],
            (WATCHER, LATENCY): [(71.0, 84.0), (72.0, 91.0), (75.0, 200.0)],
        },
        before={"answered": "100", "left out": "7"},
        after={"answered": "106", "left out": "10"},
        stolen=0.025,
    )
    found = figures(dict.fromkeys(range(6), 0.08) | {99: 5.0}, phase)
    assert found["published"] == "10"
    assert found["answered by the detector"] == "6"
    assert found["left out and counted"] == "3"
    assert found["unaccounted"] == "1"
    assert found["processors' time taken by the host, per cent"] == "2.5"
    assert found["scored"] == "6"
    assert found["detector processing, median / p95 ms"] == "45.0 / 65.0"
    assert found["latency from stamp to answer of scorer, median / p95 ms"] == "70.0 / 90.0"
    assert found["p95 ms"] == found["most ms"] == "80.0"
    assert found["stamp to anomalies, median / p95 ms"] == "72.0 / 91.0"
    assert found["p95 beyond the detector's p95 (aim: 20), ms"] == "26.0"
    assert found["memory of scorer"] == "103 MB, +3.00 MB a minute"


def test_times_are_taken_once_there_are_any() -> None:
    def said(value: str) -> dict[str, str]:
        kinds = ("latency from stamp to answer", "processing time", "time in the queue")
        return {f"{kind}, p{share} (ms)": value for kind in kinds for share in (50, 95)}

    times: dict = {}
    known = {"detector": said("7.5"), "track_buffer": said("nan")}
    note_times(times, known, recent := Recent())
    assert set(times) == {("detector", kind) for kind in (LATENCY, PROCESSING, WAITING)}
    assert times["detector", PROCESSING] == [(7.5, 7.5)]
    recent.add(0.08)
    note_times(times, known, recent)
    assert times[WATCHER, LATENCY] == [(80.0, 80.0)]
    assert times["detector", PROCESSING] == [(7.5, 7.5)] * 2


def test_memory_that_stays_has_no_slope() -> None:
    assert growth([(0.0, 10.0), (40.0, 200.0), (50.0, 200.0)]) == "200 MB, +0.00 MB a minute"
