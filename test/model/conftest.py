"""An artifact of a small untrained temporal MAE, for what does not need a trained one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import save_artifact
from tao_anomaly.model.config import ModelConfig, ScoringConfig, TemporalMaeConfig
from tao_anomaly.model.engines import TorchEngine
from tao_anomaly.model.examination import NormalErrors
from tao_anomaly.model.geometry import MOTION
from tao_anomaly.model.preparation import WindowPreparation
from tao_anomaly.model.standardizer import Standardizer
from tao_anomaly.model.temporal_mae import TemporalMAE
from tao_anomaly.model.window_model import (
    KIND,
    TemporalMaeModel,
    WindowExaminer,
    artifact_tensors,
    feature_shape,
    joined_weights,
)
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.local_velocity import LocalVelocities
from tao_anomaly.scoring.nearest import Memory
from tao_anomaly.structures import FeatureLayout

LAYOUT = FeatureLayout(appearance=6, kinematics=len(KINEMATICS))


@pytest.fixture
def artifact_folder(tmp_path: Path) -> Path:
    """A saved artifact of kind temporal_mae."""
    config = TemporalMaeConfig(
        model=ModelConfig(
            components=4,
            d_model=16,
            depth=1,
            heads=2,
            decoder_dim=8,
            decoder_depth=1,
            decoder_heads=2,
            embedding_dim=4,
        ),
        scoring=ScoringConfig(memory_size=5),
    )
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    network = TemporalMAE(config.model, feature_shape(config.model, LAYOUT))
    standardizer = Standardizer.fit(
        appearance=generator.normal(size=(50, 6)).astype(np.float32),
        motion=generator.normal(size=(5, 4, len(MOTION))).astype(np.float32),
        place=generator.normal(size=(5, 5)).astype(np.float32),
        valid=np.ones((5, 4), bool),
        components=4,
    )
    preparation = WindowPreparation(LAYOUT, SceneScale(), standardizer, use_grid=False)
    scoring = config.scoring
    terms = (*scoring.cues, *scoring.terms)
    calibration = Calibration.fit(
        generator.normal(size=(20, len(terms))).astype(np.float32),
        term_names=terms,
        weights=joined_weights(scoring),
        cap=10.0,
    )
    examiner = WindowExaminer(TorchEngine(network), preparation, config)
    windows = generator.normal(size=(6, 16, LAYOUT.dim)).astype(np.float32)
    times = np.tile(np.arange(-15, 1, dtype=np.float32) / 10, (6, 1))
    seen = examiner.examine(windows, times, np.ones((6, 16), bool), np.ones(6, np.float32))
    model = TemporalMaeModel(
        examiner=examiner, normal=NormalErrors.fit([seen]), memory=seen.embedding[:5]
    )
    known = np.zeros(3, np.bool_)
    cues = Cues(
        layout=LAYOUT,
        scale=preparation.scale,
        appearances=Memory(np.eye(3, LAYOUT.appearance, dtype=np.float32), known),
        flows=Memory(np.eye(3, DIRECTIONS, dtype=np.float32), known),
        class_levels=np.zeros(0, np.float32),
        local=LocalVelocities(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)),
        term_names=scoring.cues,
        long_stay=5.0,
    )
    save_artifact(
        tmp_path / "model",
        kind=KIND,
        feature_id="synthetic",
        layout=LAYOUT,
        config={
            **asdict(config),
            "scene_scale": asdict(preparation.scale),
            "fitted_with": {"windows": {"length": 16}},
        },
        tensors=artifact_tensors(network, model) | cues.tensors(),
        calibration=calibration,
    )
    return tmp_path / "model"
