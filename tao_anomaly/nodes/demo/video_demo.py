"""The demo on a video: fits a model on normal footage if there is none, then runs the graph."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.fit import FitConfig, extract, fit
from tao_anomaly.media.source import open_clips
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.nodes import graph
from tao_anomaly.nodes.demo.stages import detector_arguments, detector_words, shown
from tao_anomaly.pipeline import Perception
from tao_anomaly.weights import WeightsError, find_weights

_IMAGES = 300  # of each normal clip: enough to see it work, quick enough to wait for


def run_video(video: str, normal: str, detector: DetectorConfig, folder: Path) -> int:
    """Score a video by a model of `normal`, or of the video's own start; returns the exit status.

    Raises SourceError, WeightsError, ArtifactError or ThresholdError.
    """
    return run_graph(video, detector, model_for(normal or video, detector, folder), folder)


def chosen_detector(weights: str, sha256: str) -> DetectorConfig:
    """Return the detector of a weights file; raises WeightsError saying what to give instead."""
    try:
        path = find_weights(
            weights or DetectorConfig().weights, sha256=sha256, setting="WEIGHTS_SHA256"
        )
    except WeightsError as error:
        raise WeightsError(
            f"{error}: make demo VIDEO=<video> WEIGHTS=<file> WEIGHTS_SHA256=<its SHA-256>"
        ) from error
    return DetectorConfig(weights=str(path), weights_sha256=sha256)


def model_for(normal: str, detector: DetectorConfig, folder: Path, *, limit: int = _IMAGES) -> Path:
    """Return the folder of a model fitted on `normal`; fits it where it is absent or outdated."""
    key = hashlib.sha256(f"{Path(normal).resolve()}|{limit}".encode()).hexdigest()[:8]
    model = folder / f"model-{key}"
    pipeline = PipelineConfig(detector=detector)
    perception = Perception.from_config(pipeline)
    try:
        if load_artifact(model).feature_id == perception.feature_id:
            print(f"demo: using the model in {model}")
            return model
    except ArtifactError:
        pass
    words = [f"source={normal}", f"output={model}", f"limit={limit}"]
    _say(
        f"fitting a model on {normal}, up to {limit} images a clip, taken as normal",
        ["-m", "tao_anomaly.fit", *words, *detector_words(detector)],
    )
    config = FitConfig(source=normal, output=str(model), limit=limit, pipeline=pipeline)
    fit(extract(open_clips(normal), perception, limit=limit), perception, config)
    return model


def run_graph(video: str, detector: DetectorConfig, model: Path, folder: Path) -> int:
    """Run the nodes in processes of their own on all images of the video, as fast as they can."""
    record = folder / "overlay.mp4"
    record.unlink(missing_ok=True)
    arguments = ["--model", str(model), *detector_arguments(detector), "--source", video]
    arguments += ["--lock-step", "--record", str(record)]
    _say(f"running the ROS 2 graph on {video}", ["-m", "tao_anomaly.nodes.graph", *arguments])
    status = graph.run(graph.parse(arguments))
    if record.exists():
        print(f"demo: the annotated video is {record}")
    return status


def _say(what: str, words: list[str]) -> None:
    """Print what happens next and the command that does the same."""
    print(f"demo: {what}\n  $ {shown([sys.executable, *words])}", flush=True)
