from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plaza_statistics
from benchmarks.plaza_statistics import StatisticsConfig, _longest_stop, report
from tao_anomaly.datasets.dataset import DatasetError
from tao_anomaly.datasets.plaza.dataset import objects_file
from tao_anomaly.datasets.plaza.generate import PlazaConfig, generate


def test_a_stop_is_the_longest_time_below_walking() -> None:
    assert _longest_stop(np.array([1, 0, 0, 0.1, 1, 0, 0.3])) == pytest.approx(0.3)
    assert _longest_stop(np.array([0.0, 0.0])) == pytest.approx(0.2)
    assert _longest_stop(np.array([1.0, 2.0])) == 0


def test_counts_what_the_ground_truth_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "plaza"
    size = {"width": 160, "height": 90, "rate": 2.0, "seconds": 4.0}
    generate(PlazaConfig(output=str(root), train_clips=1, test_clips=1, **size))
    rows = objects_file(root, "train_001").read_text("utf-8").splitlines()
    monkeypatch.setattr(sys, "argv", ["", f"root={root}"])
    text = report(StatisticsConfig(root=str(root)))
    assert "1 clips of 4 s, 2 frames a second, 160x90, density 12, seed 0" in text
    assert f"| people seen in a frame | 8 | {len(rows) / 8:.2f} |" in text
    assert "longest stop" not in text  # nobody stops in these four seconds
    assert f"| height of a box, pixels | {len(rows)} |" in text
    with pytest.raises(DatasetError, match="which generates it"):
        report(StatisticsConfig(root=str(tmp_path)))
    assert plaza_statistics.seen(root, 2.0)["time a person is seen, s"].max() <= 4
