"""The demo on a video finds its model, or says what to give."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: make setup, then make test")

from tao_anomaly.nodes.demo import video_demo
from tao_anomaly.weights import WeightsError


def test_without_weights_it_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TAO_ANOMALY_SHARED", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"(?s)no weights for 'yolov8n'.*make demo VIDEO="):
        video_demo.choose_weights("")


def test_a_model_is_fitted_once(
    ped2: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normal = str(ped2 / "Train" / "Train001")
    first = video_demo.model_for(normal, weights, tmp_path, limit=30)
    assert "limit=30" in capsys.readouterr().out
    written = (first / "config.json").stat().st_mtime_ns
    assert video_demo.model_for(normal, weights, tmp_path, limit=30) == first
    assert (first / "config.json").stat().st_mtime_ns == written
    assert "using the model" in capsys.readouterr().out
