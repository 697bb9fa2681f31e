"""A synthetic scene: people who walk straight on, with an appearance that swings as they step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tao_anomaly.features.kinematics import KINEMATICS, KinematicsEstimator
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.media.clip_file import ClipInfo
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.model.config import MaskConfig, ModelConfig, ScoringConfig, TrainingConfig
from tao_anomaly.scoring.split import Split
from tao_anomaly.structures import NANOSECONDS, FeatureLayout, TrackFeatures, Tracks, TrackState
from training.fit import FitResult, Footage, fit
from training.settings import DataConfig, EvaluationConfig, TrainRun

LAYOUT = FeatureLayout(appearance=12, kinematics=len(KINEMATICS))
RATE = 10.0
SIZE = (240, 360)
FEATURE_ID = "synthetic"


def make_clip(seed: int, *, frames: int = 40, people: int = 4) -> list[TrackFeatures]:
    generator = np.random.default_rng(seed)
    looks = np.random.default_rng(0).normal(size=(3, LAYOUT.appearance))
    place = generator.uniform([60, 80], [300, 160], size=(people, 2))
    velocity = generator.normal(0, [3.0, 0.5], size=(people, 2))
    phase = generator.uniform(0, 6.28, people)
    who = generator.normal(size=people)
    estimator = KinematicsEstimator(span=0.5)
    clip = []
    for frame in range(frames):
        seconds = frame / RATE
        swing = phase + 3 * seconds
        latent = np.stack([who, np.sin(swing), np.cos(swing)], axis=1)
        centre, height = place + velocity * seconds * RATE / 10, 40.0
        half = np.array([height / 4, height / 2])
        tracks = Tracks(
            ids=tuple(f"0-{i}" for i in range(people)),
            boxes=np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
            scores=np.full(people, 0.9, np.float32),
            class_ids=np.zeros(people, np.int64),
            ages=np.full(people, frame, np.int64),
            states=np.full(people, int(TrackState.TRACKED), np.int64),
        )
        stamp_ns = round(seconds * NANOSECONDS)
        kinematics = estimator.update(tracks, stamp_ns, SIZE)
        flow = flow_of(velocity, generator)
        features = np.concatenate([latent @ looks, kinematics, flow], axis=1).astype(np.float32)
        clip.append(TrackFeatures(stamp_ns, 0, SIZE, tracks, features, FEATURE_ID))
    return clip


def flow_of(velocity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Half of a box moves as its person does, ``(N, 2)`` in pixels a second, the rest flickers."""
    flow = generator.exponential(0.002, size=(len(velocity), DIRECTIONS))
    angle = np.arctan2(velocity[:, 1], velocity[:, 0]) % (2 * np.pi)
    eighth = (angle * DIRECTIONS / (2 * np.pi)).astype(int)
    flow[np.arange(len(flow)), eighth] += np.linalg.norm(velocity, axis=1) / 2 / SIZE[0]
    return flow


@pytest.fixture(scope="session")
def clips() -> Mapping[str, list[TrackFeatures]]:
    return {f"synthetic/{i:02d}": make_clip(i) for i in range(16)}


@pytest.fixture(scope="session")
def footage(clips: Mapping[str, list[TrackFeatures]]) -> Footage:
    return Footage(clips=clips, layout=LAYOUT, feature_id=FEATURE_ID)


@pytest.fixture(scope="session")
def split(clips: Mapping[str, list[TrackFeatures]]) -> Split:
    names = sorted(clips)
    return Split(train=tuple(names[:12]), calibration=tuple(names[12:14]), check=tuple(names[14:]))


@pytest.fixture(scope="session")
def tiny_run() -> TrainRun:
    """Small enough to train in seconds."""
    return TrainRun(
        data=DataConfig(stride=4),
        model=ModelConfig(
            components=3,
            d_model=32,
            depth=2,
            heads=4,
            mlp_ratio=2,
            decoder_dim=32,
            decoder_depth=1,
            decoder_heads=4,
            embedding_dim=8,
        ),
        masks=MaskConfig(),
        scoring=ScoringConfig(memory_size=32),
        train=TrainingConfig(epochs=40, learning_rate=5e-3, device="cpu"),
        eval=EvaluationConfig(windows=200),
    )


@pytest.fixture(scope="session")
def trained(
    footage: Footage, split: Split, tiny_run: TrainRun, tmp_path_factory: pytest.TempPathFactory
) -> FitResult:
    """A model trained on the synthetic scene; read only."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is too small for more
    run = replace(tiny_run, output=str(tmp_path_factory.mktemp("run")))
    try:
        return fit(footage, split, run, Accelerator(cpu=True))
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def store(
    clips: Mapping[str, list[TrackFeatures]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The synthetic scene as a feature store."""
    made = FeatureStore(tmp_path_factory.mktemp("store"))
    for name, images in clips.items():
        dataset, _, clip = name.partition("/")
        info = ClipInfo(
            dataset=dataset,
            clip=clip,
            split="train",
            rate=RATE,
            feature_id=FEATURE_ID,
            layout=LAYOUT,
        )
        with made.writer(info) as writer:
            for index, image in enumerate(images):
                writer.add(index, image)
    return made.folder
