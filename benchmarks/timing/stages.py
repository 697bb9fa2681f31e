"""The stages of the pipeline one by one, each with its time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector, ImageOutput
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.scoring.self_test import try_model
from tao_anomaly.structures import Frame, TrackFeatures
from tao_anomaly.windows import TrackBuffer

FORWARD = "forward"
SCORING = "scoring"


class Stopwatch:
    """Seconds of named stages, one entry an image: wall time, and CPU time of all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.cpu_seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what runs inside, on a GPU until its last kernel has ended."""
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self.seconds[stage].append(time.perf_counter() - start)
        self.cpu_seconds[stage].append(time.process_time() - cpu_start)

    @property
    def whole(self) -> np.ndarray:
        """Seconds of all stages, one entry an image."""
        return np.sum(list(self.seconds.values()), axis=0)

    @property
    def model(self) -> np.ndarray:
        """Seconds of the scoring, one entry an image."""
        return np.array(self.seconds[SCORING]) if SCORING in self.seconds else 0 * self.whole

    @property
    def beside(self) -> np.ndarray:
        """Seconds of all but the forward pass and the scoring, one entry an image."""
        return self.whole - np.array(self.seconds[FORWARD]) - self.model


class Stages:
    """The stages of `Pipeline`, called one by one for each image.

    watch: of the images so far. tracks: objects in each. maps: the last image's pyramid.
    """

    def __init__(
        self, config: PipelineConfig, detector: Detector, scorer: Scorer | None = None
    ) -> None:
        self.config = config
        self.perception = Perception.from_config(config, detector=detector)
        self.buffer = TrackBuffer(config.windows)
        self.scorer = scorer
        self.watch = Stopwatch()
        self.tracks: list[int] = []
        self.maps: tuple[torch.Tensor, ...] = ()

    @property
    def name(self) -> str:
        """Of the detector's backend."""
        return self.perception.detector.backend.name

    def __call__(self, frame: Frame) -> None:
        """Take an image through all stages."""
        features = self.perceive(frame)
        self.score(features)
        self.tracks.append(len(features.tracks))

    def perceive(self, frame: Frame) -> TrackFeatures:
        """Return the tracked objects of an image."""
        perception, detector, watch = self.perception, self.perception.detector, self.watch
        with watch("letterbox"):
            letterbox = detector.letterbox(frame.image)
            blob = letterbox.blob(frame.image)
        with watch(FORWARD):
            output = detector.backend.forward(blob)
        self.maps = output.maps
        with watch("suppression (NMS)"):
            begun = perception.extractor.begin(frame)  # from here on beside the rest
            found, pyramid = detector.found(ImageOutput(output, letterbox))
        if perception.moving:
            with watch("moving objects"):
                most = detector.config.max_detections
                found = perception.moving.add(found, frame, most=most)
        with watch("tracking"):
            tracks = perception.tracker.update(found, frame.stamp_ns)
        with watch("RoI features"):
            values = perception.extractor.extract(tracks, pyramid, frame, begun=begun)
        return TrackFeatures(frame.stamp_ns, 0, frame.size, tracks, values, perception.feature_id)

    def score(self, features: TrackFeatures) -> None:
        """Cut the windows of an image and score them."""
        with self.watch("windows"):
            windows = self.buffer.update(features)
        if self.scorer:
            with self.watch(SCORING):
                self.scorer.update(windows)

    def forget_times(self) -> None:
        """Begin to measure."""
        self.watch, self.tracks = Stopwatch(), []


def load_scorer(model: str, config: PipelineConfig, detector: Detector) -> Scorer:
    """Return the scorer of an artifact, made for the features of this detector."""
    artifact = load_artifact(model)
    scorer = Scorer.from_artifact(artifact, config=config.scorer)
    scorer.require(Perception.from_config(config, detector=detector).feature_id)
    try_model(scorer, artifact)  # as the nodes do before they begin
    return scorer


def fit_scorer(frames: Sequence[Frame], config: PipelineConfig, detector: Detector) -> Scorer:
    """Return cues that remember these images; their scores mean nothing."""
    stages = Stages(config, detector)
    images = [stages.perceive(frame) for frame in frames]
    cues = Cues.fit([images], layout=stages.perception.layout)
    ones = cues.weights
    return Scorer(
        model=cues,
        calibration=Calibration(
            cues.term_names, ones, ones, ones, 10.0, {"rule": "fixed", "value": 3.0}
        ),
        feature_id=stages.perception.feature_id,
        config=config.scorer,
    )


def another(scorer: Scorer) -> Scorer:
    """Return a scorer of the same model, for another stream."""
    return Scorer(
        model=scorer.model,
        calibration=scorer.calibration,
        feature_id=scorer.feature_id,
        config=scorer.config,
    )
