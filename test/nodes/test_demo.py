"""The demo finds its footage and its model, or says what to give."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: make setup, then make test")

from tao_anomaly.media.source import SourceError
from tao_anomaly.nodes import demo
from tao_anomaly.weights import WeightsError


def test_without_shared_data_it_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TAO_ANOMALY_SHARED", raising=False)
    with pytest.raises(SourceError, match=r"TAO_ANOMALY_SHARED is not set.*make demo VIDEO="):
        demo.choose_footage("", "")
    monkeypatch.setenv("TAO_ANOMALY_SHARED", str(tmp_path))
    with pytest.raises(SourceError, match=r"UCSDped2 is not there.*make demo VIDEO="):
        demo.choose_footage("", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"(?s)no weights for 'yolov8n'.*make demo WEIGHTS="):
        demo.choose_weights("")


def test_it_takes_ped2_or_what_is_given(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAO_ANOMALY_SHARED", str(shared))
    video, normal, _ = demo.choose_footage("", "")
    assert Path(video).is_dir()
    assert Path(normal).is_dir()
    assert demo.choose_footage("a.mp4", "")[:2] == ("a.mp4", "a.mp4")
    assert demo.choose_footage("a.mp4", "b.mp4")[:2] == ("a.mp4", "b.mp4")


def test_a_model_is_fitted_once(
    ped2: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "OUTPUT", tmp_path)
    normal = str(ped2 / "Train" / "Train001")
    first = demo.model_for(normal, weights, limit=30)
    assert "limit=30" in capsys.readouterr().out
    written = (first / "config.json").stat().st_mtime_ns
    assert demo.model_for(normal, weights, limit=30) == first
    assert (first / "config.json").stat().st_mtime_ns == written
    assert "using the model" in capsys.readouterr().out
