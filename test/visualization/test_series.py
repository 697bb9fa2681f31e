"""Curves of a recording: timeline, tail and latency, and the figures of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.config import ScorerConfig
from tao_anomaly.visualization.findings import find_events
from tao_anomaly.visualization.paper_figures import timeline_figure, write_figures
from tao_anomaly.visualization.recording import Recording
from tao_anomaly.visualization.series import latency_histogram, tail, timeline

Rows = list[list[float]]
Recorded = Callable[..., Recording]


def test_a_thinned_timeline_keeps_every_peak(recorded: Recorded) -> None:
    rows = [[float(i % 7)] for i in range(100)]
    rows[41], rows[50:60] = [99.0], [[]] * 10
    line = timeline(recorded(rows), 10)
    assert line.scores.tolist() == [6, 6, 6, 6, 99, pytest.approx(np.nan, nan_ok=True), 6, 6, 6, 6]
    assert line.frames[4] == 41
    assert set(line.thresholds) == {2.0}


def test_the_tail_by_hand() -> None:
    gpd = {
        "family": "gpd",
        "start": 1.0,
        "shape": 0.0,
        "scale": 1.0,
        "exceedances": 2,
        "tracks": 20,
    }
    evidence = {
        "highest": {"calibration": [3.0, 2.0, 1.5], "check": [4.0]},
        "check": {"tracks": 10},
    }
    found = tail(
        {"threshold": {"rule": "evt", "value": 3.3, "q": 0.01, **gpd}, "evidence": evidence}
    )
    assert found["calibration"] == {"scores": [3.0, 2.0, 1.5], "shares": [0.05, 0.1, 0.15]}
    assert found["check"] == {"scores": [4.0], "shares": [0.1]}
    fitted = np.array([found["fitted"]["scores"], found["fitted"]["shares"]])
    np.testing.assert_allclose(fitted[1], 0.1 * np.exp(-(fitted[0] - 1)), rtol=1e-3)
    none = tail({"threshold": {"rule": "fixed", "value": 3.0}, "evidence": {}})
    assert none["fitted"] == none["check"] == {"scores": [], "shares": []}


def test_latency_counts_every_image() -> None:
    found = latency_histogram(np.array([0.01] * 51 + [0.02] * 48 + [9.0]))
    assert (sum(found["counts"]), found["p50"], found["images"]) == (100, 10.0, 100)
    assert latency_histogram(np.zeros(0)) is None


def test_figures_for_papers_show_the_same(
    recorded: Recorded, event_rows: Rows, tmp_path: Path
) -> None:
    shown = recorded(event_rows, anomalous=((20, 25),))
    events = find_events(shown, ScorerConfig())
    axes = timeline_figure(shown, events).axes[0]
    _, scores, peaks = axes.lines
    line = timeline(shown, 2000)
    np.testing.assert_array_equal(scores.get_ydata(), line.scores)
    np.testing.assert_allclose(scores.get_xdata(), line.frames / 10)
    assert (peaks.get_xdata()[0], peaks.get_ydata()[0]) == (0.5, 5.0)
    band = axes.patches[0]
    assert (band.get_x(), band.get_width()) == pytest.approx((2.0, 0.6))
    curves = {"mine": {"region_track": None, "roc": {"fpr": [0, 1], "tpr": [0, 1]}, "pr": None}}
    written = write_figures(tmp_path, [shown], events, curves)
    names = ["timeline_yard.png", "timeline_yard.svg", "roc.png", "roc.svg"]
    assert [path.name for path in written] == names
    assert all(path.stat().st_size > 1000 for path in written)
