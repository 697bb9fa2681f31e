"""One dummy inference of each model, before a node says that it is ready."""

from __future__ import annotations

import numpy as np

from tao_anomaly.config import WindowConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.model.artifact import Artifact, ArtifactError
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Tracks, TrackWindows


def try_detector(detector: Detector) -> None:
    """Run a detector on a black image."""
    detector.detect(np.zeros((480, 640, 3), np.uint8))


def try_model(scorer: Scorer, artifact: Artifact) -> None:
    """Score one window of zeros; raises ArtifactError where the model cannot."""
    length = WindowConfig().length
    windows = TrackWindows(
        stamp_ns=0,
        epoch=0,
        image_size=(480, 640),
        tracks=Tracks(
            ids=("0-0",),
            boxes=np.array([[0, 0, 10, 20]], np.float32),
            scores=np.ones(1, np.float32),
            class_ids=np.zeros(1, np.int64),
            ages=np.zeros(1, np.int64),
            states=np.zeros(1, np.int64),
        ),
        observations=np.full(1, length, np.int64),
        index=np.zeros(1, np.int64),
        features=np.zeros((1, length, artifact.layout.dim), np.float32),
        times=np.linspace(-1, 0, length, dtype=np.float32)[None],
        valid=np.ones((1, length), np.bool_),
        stays=np.zeros(1, np.float32),
        feature_id=artifact.feature_id,
    )
    try:
        found = scorer.model.terms(windows)
    except Exception as error:
        raise ArtifactError(f"{artifact.folder}: its model fails on zeros ({error!r})") from error
    expected = (1, len(scorer.calibration.term_names))
    if found.shape != expected:
        raise ArtifactError(
            f"{artifact.folder}: got terms of shape {found.shape}, expected {expected}"
        )
