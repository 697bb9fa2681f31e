"""Time each stage of the pipeline, one image at a time, in one or several detector backends.

``python benchmarks/speed.py source=<video, folder or bag> [model=<artifact folder>]``
``python benchmarks/speed.py source=<footage> backends=[torch,openvino,onnxruntime]``

Several backends take turns at each image, in random order: a busy machine is as busy for one as for
another.
"""

from __future__ import annotations

import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Frame, TrackFeatures
from tao_anomaly.weights import WeightsError
from tao_anomaly.windows import FeatureMismatchError, TrackBuffer

FORWARD = "forward"
SCORING = "scoring"


@dataclass
class SpeedConfig:
    """Settings of the command."""

    source: str = setting("", "video, image folder or bag")
    model: str = setting("", "folder of an artifact; empty: the cues of the warm-up's images")
    warmup: int = setting(20, "images before the first that is timed", minimum=2)
    images: int = setting(100, "most images timed", minimum=1)
    backends: list[str] = field(
        default_factory=list,
        metadata={"description": "detector backends; empty: the one of pipeline.detector.backend"},
    )
    output: str = setting("", "file of the table, Markdown; empty: only printed")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


class Stopwatch:
    """Seconds of named stages, one entry an image: wall time, and CPU time of all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.cpu_seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what runs inside."""
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        self.seconds[stage].append(time.perf_counter() - start)
        self.cpu_seconds[stage].append(time.process_time() - cpu_start)


class Stages:
    """The stages of `Pipeline`, called one by one.

    watch: of the images so far. tracks: objects in each. maps: the last image's pyramid.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.perception = Perception.from_config(config)
        self.buffer = TrackBuffer(config.windows)
        self.scorer: Scorer | None = None
        self.watch = Stopwatch()
        self.tracks: list[int] = []
        self.maps: tuple[torch.Tensor, ...] = ()

    @property
    def name(self) -> str:
        """Of the detector's backend."""
        return self.perception.detector.backend.name

    def perceive(self, frame: Frame) -> TrackFeatures:
        """Return the tracked objects of an image; each result is on the CPU when its time ends."""
        perception, detector, watch = self.perception, self.perception.detector, self.watch
        with watch("letterbox"):
            letterbox = detector.letterbox(frame.image)
            blob = letterbox.blob(frame.image)
        with watch(FORWARD):
            output = detector.backend.forward(blob)
        self.maps = output.maps
        with watch("suppression (NMS)"):
            found = to_detections(output.predictions[0], letterbox, detector.config)
        with watch("tracking"):
            tracks = perception.tracker.update(found, frame.stamp_ns)
        with watch("RoI features"):
            pyramid = detector.pyramid(output, letterbox, 0)
            values = perception.extractor.extract(tracks, pyramid, frame)
        return TrackFeatures(frame.stamp_ns, 0, frame.size, tracks, values, perception.feature_id)

    def score(self, features: TrackFeatures) -> None:
        """Cut the windows of an image and score them."""
        with self.watch("windows"):
            windows = self.buffer.update(features)
        if self.scorer:
            with self.watch(SCORING):
                self.scorer.update(windows)

    def load(self, model: str) -> None:
        """Take the scorer of an artifact."""
        scorer = Scorer.from_artifact(load_artifact(model), config=self.config.scorer)
        scorer.require(self.perception.feature_id)
        self.scorer = scorer

    def fit(self, images: list[TrackFeatures]) -> None:
        """Take a baseline that remembers these images; its scores mean nothing."""
        cues = Cues.fit([images], layout=self.perception.layout)
        ones = cues.weights
        self.scorer = Scorer(
            model=cues,
            calibration=Calibration(
                cues.term_names, ones, ones, ones, 10.0, {"rule": "fixed", "value": 3.0}
            ),
            feature_id=self.perception.feature_id,
            config=self.config.scorer,
        )


@dataclass
class Timing:
    """What was measured of one backend.

    cosine: the lowest of a pyramid level with that of the first backend, of all images.
    """

    name: str
    watch: Stopwatch
    tracks: list[int]
    cosine: float = 1.0

    @property
    def whole(self) -> np.ndarray:
        """Seconds of all stages, one entry an image."""
        return np.sum(list(self.watch.seconds.values()), axis=0)


def measure(frames: list[Frame], config: SpeedConfig) -> list[Timing]:
    """Return what each backend took for the images after the warm-up."""
    names = config.backends or [config.pipeline.detector.backend]
    runs = [warmed_up(frames[: config.warmup], config, backend) for backend in names]
    timings = [Timing(stages.name, stages.watch, stages.tracks) for stages in runs]
    turns = random.Random(0)
    for frame in frames[config.warmup :]:
        # A scheduler that shares fairly lets wait who comes after the one that took most.
        for index in turns.sample(range(len(runs)), len(runs)):
            stages, timing = runs[index], timings[index]
            features = stages.perceive(frame)
            stages.score(features)
            timing.tracks.append(len(features.tracks))
        for stages, timing in zip(runs, timings, strict=True):
            timing.cosine = min(timing.cosine, lowest_cosine(stages.maps, runs[0].maps))
    return timings


def warmed_up(frames: list[Frame], config: SpeedConfig, backend: str) -> Stages:
    """Return the stages with a model, after these images, which are not timed."""
    detector = replace(config.pipeline.detector, backend=backend)
    stages = Stages(replace(config.pipeline, detector=detector))
    if config.model:
        stages.load(config.model)
    seen = []
    for frame in frames:
        seen.append(stages.perceive(frame))
        stages.score(seen[-1])
    if not stages.scorer:
        stages.fit(seen)
    stages.watch = Stopwatch()
    return stages


def lowest_cosine(maps: tuple[torch.Tensor, ...], others: tuple[torch.Tensor, ...]) -> float:
    """Return the lowest cosine of the levels of two pyramids of one image."""
    pairs = [
        (a.double().flatten(), b.double().flatten()) for a, b in zip(maps, others, strict=True)
    ]
    return min(float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs)


def comparison(timings: list[Timing]) -> str:
    """Return forward and all stages of each backend, with ratios to the first."""
    first, lines = timings[0], []
    lines.append(
        f"| backend | forward, median ms | least ms | CPU ms | speed-up over {first.name} |"
    )
    lines[0] += f" all stages, median ms | speed-up over {first.name} | lowest cosine |"
    lines.append("|---|" + "---:|" * 7)
    for timing in timings:
        forward, whole = np.array(timing.watch.seconds[FORWARD]), timing.whole
        base = np.median(first.watch.seconds[FORWARD]) / np.median(forward)
        rate = np.median(first.whole) / np.median(whole)
        lines.append(
            f"| {timing.name} | {1e3 * np.median(forward):.1f} | {1e3 * forward.min():.1f} |"
            f" {1e3 * np.median(timing.watch.cpu_seconds[FORWARD]):.1f} | {base:.2f} |"
            f" {1e3 * np.median(whole):.1f} | {rate:.2f} | {timing.cosine:.6f} |"
        )
    return "\n".join(lines)


def table(watch: Stopwatch) -> str:
    """Return the median and the 95th percentile of each stage, and its share of the forward."""
    seconds = {stage: np.array(values) for stage, values in watch.seconds.items()}
    whole = np.sum(list(seconds.values()), axis=0)
    beside = whole - seconds[FORWARD]
    rows = {
        **seconds,
        "all beside forward and scoring": beside - seconds.get(SCORING, 0),
        "all beside the forward": beside,
        "all": whole,
    }
    forward = np.median(seconds[FORWARD])
    lines = ["| stage | median ms | p95 ms | median / forward |", "|---|---:|---:|---:|"]
    for stage, values in rows.items():
        median, high = np.median(values), np.percentile(values, 95)
        lines.append(
            f"| {stage} | {1e3 * median:.2f} | {1e3 * high:.2f} | {median / forward:.1%} |"
        )
    return "\n".join(lines)


def report(timings: list[Timing], frame: Frame, config: SpeedConfig) -> str:
    """Return the tables under the conditions it was measured in."""
    height, width = frame.size
    tracks = timings[0].tracks
    facts = {
        "Date": date.today().isoformat(),
        "Machine": machine(),
        "Threads": f"{torch.get_num_threads()} of torch {torch.__version__}",
        "Detector": f"{config.pipeline.detector.weights}, device {config.pipeline.detector.device},"
        f" backend {', '.join(timing.name for timing in timings)}",
        "Model": config.model or "cues of the warm-up",
        "Source": f"{config.source}, {width}x{height}",
        "Images": f"{len(tracks)} timed after {config.warmup} of warm-up",
        "Objects an image": f"median {np.median(tracks):.0f}, most {max(tracks)}",
    }
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    parts = ["# Speed of the stages", "\n".join(lines)]
    if len(timings) > 1:
        parts.append(comparison(timings))
    for timing in timings:
        parts += [f"## {timing.name}"] if len(timings) > 1 else []
        parts.append(table(timing.watch))
    return "\n\n".join(parts) + "\n"


def body(config: SpeedConfig) -> None:
    """Run the command."""
    if not config.source:
        raise SourceError("give source=<video, image folder or bag>")
    frames = list(islice(open_source(config.source), config.warmup + config.images))
    if len(frames) <= config.warmup:
        raise SourceError(
            f"{config.source}: got {len(frames)} images, expected more than warmup={config.warmup}"
        )
    text = report(measure(frames, config), frames[0], config)
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
