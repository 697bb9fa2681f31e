"""The demo on a video finds its model, or says what to give."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: make setup, then make test")

from tao_anomaly.config import DetectorConfig
from tao_anomaly.nodes import graph
from tao_anomaly.nodes.demo import video_demo
from tao_anomaly.nodes.demo.stages import detector_arguments, detector_words
from tao_anomaly.weights import WeightsError


def test_without_weights_it_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TAO_ANOMALY_SHARED", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"(?s)no weights for 'yolov8n'.*make demo VIDEO="):
        video_demo.chosen_detector("", "")


def test_weights_that_are_not_known_need_their_hash(tmp_path: Path) -> None:
    path = tmp_path / "own.pt"
    path.write_bytes(b"own")
    digest = hashlib.sha256(b"own").hexdigest()
    with pytest.raises(WeightsError, match=rf"got SHA-256 {digest}.* set WEIGHTS_SHA256 to this"):
        video_demo.chosen_detector(str(path), "")
    for given in (digest, "any"):
        detector = video_demo.chosen_detector(str(path), given)
        assert detector == DetectorConfig(weights=str(path), weights_sha256=given)
        assert detector_words(detector) == [
            f"pipeline.detector.weights={path}",
            f"pipeline.detector.weights_sha256={given}",
        ]
        options = graph.parse(detector_arguments(detector))
        node = graph.stages(options)[0]
        assert node.parameters["detector.weights"] == str(path)
        assert node.parameters["detector.weights_sha256"] == given
    assert detector_words(DetectorConfig(weights="plaza")) == ["pipeline.detector.weights=plaza"]


def test_a_model_is_fitted_once(
    ped2: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normal = str(ped2 / "Train" / "Train001")
    detector = DetectorConfig(weights=str(weights))
    first = video_demo.model_for(normal, detector, tmp_path, limit=30)
    assert "limit=30" in capsys.readouterr().out
    written = (first / "config.json").stat().st_mtime_ns
    assert video_demo.model_for(normal, detector, tmp_path, limit=30) == first
    assert (first / "config.json").stat().st_mtime_ns == written
    assert "using the model" in capsys.readouterr().out
