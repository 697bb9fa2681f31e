"""Time each stage of the pipeline, one image at a time.

``python benchmarks/speed.py source=<video, folder or bag> [model=<artifact folder>]``
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np
import torch

# This checkout is timed, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tao_anomaly.command_line import run
from tao_anomaly.config import PipelineConfig, setting
from tao_anomaly.detection.postprocess import to_detections
from tao_anomaly.evaluation.protocol import machine
from tao_anomaly.media.source import SourceError, open_source
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.nearest_neighbours import TERMS, WEIGHTS, NearestNeighbours
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Frame, TrackFeatures
from tao_anomaly.weights import WeightsError
from tao_anomaly.windows import FeatureMismatchError, TrackBuffer

FORWARD = "forward"


@dataclass
class SpeedConfig:
    """Settings of the command."""

    source: str = setting("", "video, image folder or bag")
    model: str = setting(
        "", "folder of an artifact; empty: a nearest-neighbour baseline of the warm-up's images"
    )
    warmup: int = setting(20, "images before the first that is timed", minimum=2)
    images: int = setting(100, "most images timed", minimum=1)
    output: str = setting("", "file of the table, Markdown; empty: only printed")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


class Stopwatch:
    """Wall time of named stages, in seconds, one entry an image."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what runs inside."""
        start = time.perf_counter()
        yield
        self.seconds[stage].append(time.perf_counter() - start)


class Stages:
    """The stages of `Pipeline`, called one by one. watch: of the images so far."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.perception = Perception.from_config(config)
        self.buffer = TrackBuffer(config.windows)
        self.scorer: Scorer | None = None
        self.watch = Stopwatch()

    def perceive(self, frame: Frame) -> TrackFeatures:
        """Return the tracked objects of an image; each result is on the CPU when its time ends."""
        perception, detector, watch = self.perception, self.perception.detector, self.watch
        with watch("letterbox"):
            letterbox = detector.letterbox(frame.image)
            blob = letterbox.blob(frame.image)
        with watch(FORWARD):
            output = detector.backend.forward(blob)
        with watch("suppression (NMS)"):
            found = to_detections(output.predictions[0], letterbox, detector.config)
        with watch("tracking"):
            tracks = perception.tracker.update(found, frame.stamp_ns)
        with watch("RoI features"):
            pyramid = detector.pyramid(output, letterbox, 0)
            values = perception.extractor.extract(tracks, pyramid, frame.stamp_ns, frame.size)
        return TrackFeatures(frame.stamp_ns, 0, frame.size, tracks, values, perception.feature_id)

    def score(self, features: TrackFeatures) -> None:
        """Cut the windows of an image and score them."""
        with self.watch("windows"):
            windows = self.buffer.update(features)
        if self.scorer:
            with self.watch("scoring"):
                self.scorer.update(windows)

    def load(self, model: str) -> None:
        """Take the scorer of an artifact."""
        scorer = Scorer.from_artifact(load_artifact(model), config=self.config.scorer)
        scorer.require(self.perception.feature_id)
        self.scorer = scorer

    def fit(self, images: list[TrackFeatures]) -> None:
        """Take a baseline that remembers these images; its scores mean nothing."""
        ones = (1.0,) * len(TERMS)
        self.scorer = Scorer(
            model=NearestNeighbours.fit([images], layout=self.perception.layout),
            calibration=Calibration(
                TERMS, ones, ones, WEIGHTS, 10.0, {"rule": "fixed", "value": 3.0}
            ),
            feature_id=self.perception.feature_id,
            config=self.config.scorer,
        )


def measure(frames: list[Frame], config: SpeedConfig) -> tuple[Stopwatch, list[int]]:
    """Return the times of the images after the warm-up, and how many objects each had."""
    stages = Stages(config.pipeline)
    if config.model:
        stages.load(config.model)
    seen = []
    for frame in frames[: config.warmup]:
        seen.append(stages.perceive(frame))
        stages.score(seen[-1])
    if not stages.scorer:
        stages.fit(seen)
    stages.watch = Stopwatch()
    tracks = []
    for frame in frames[config.warmup :]:
        features = stages.perceive(frame)
        stages.score(features)
        tracks.append(len(features.tracks))
    return stages.watch, tracks


def table(watch: Stopwatch) -> str:
    """Return the median and the 95th percentile of each stage, and its share of the forward."""
    seconds = {stage: np.array(values) for stage, values in watch.seconds.items()}
    whole = np.sum(list(seconds.values()), axis=0)
    rows = {**seconds, "all beside the forward": whole - seconds[FORWARD], "all": whole}
    forward = np.median(seconds[FORWARD])
    lines = ["| stage | median ms | p95 ms | median / forward |", "|---|---:|---:|---:|"]
    for stage, values in rows.items():
        median, high = np.median(values), np.percentile(values, 95)
        lines.append(
            f"| {stage} | {1e3 * median:.2f} | {1e3 * high:.2f} | {median / forward:.1%} |"
        )
    return "\n".join(lines)


def report(watch: Stopwatch, tracks: list[int], frame: Frame, config: SpeedConfig) -> str:
    """Return the table under the conditions it was measured in."""
    height, width = frame.size
    facts = {
        "Date": date.today().isoformat(),
        "Machine": machine(),
        "Threads": f"{torch.get_num_threads()} of torch {torch.__version__}",
        "Detector": f"{config.pipeline.detector.weights}, device {config.pipeline.detector.device}",
        "Model": config.model or "nearest neighbours of the warm-up",
        "Source": f"{config.source}, {width}x{height}",
        "Images": f"{len(tracks)} timed after {config.warmup} of warm-up",
        "Objects an image": f"median {np.median(tracks):.0f}, most {max(tracks)}",
    }
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join(["# Speed of the stages", "", *lines, "", table(watch), ""])


def body(config: SpeedConfig) -> None:
    """Run the command."""
    if not config.source:
        raise SourceError("give source=<video, image folder or bag>")
    frames = list(islice(open_source(config.source), config.warmup + config.images))
    if len(frames) <= config.warmup:
        raise SourceError(
            f"{config.source}: got {len(frames)} images, expected more than warmup={config.warmup}"
        )
    watch, tracks = measure(frames, config)
    text = report(watch, tracks, frames[0], config)
    print(text)
    if config.output:
        path = Path(config.output).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text)
        part.replace(path)


def main() -> int:
    """Run the command line."""
    errors = (SourceError, WeightsError, ArtifactError, FeatureMismatchError, ValueError, OSError)
    return run(SpeedConfig, body, description=__doc__, errors=errors)


if __name__ == "__main__":
    sys.exit(main())
