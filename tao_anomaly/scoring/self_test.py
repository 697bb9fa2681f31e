"""Dummy inferences of a model, before it is said to be ready."""

from __future__ import annotations

import numpy as np

from tao_anomaly.config import WindowConfig
from tao_anomaly.model.artifact import Artifact, ArtifactError
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Tracks, TrackWindows

_AT_ONCE = 5  # windows that a model is tried on; more come seldom, and run in one graph for all


def try_model(scorer: Scorer, artifact: Artifact) -> None:
    """Score windows of zeros, one to some at once; raises ArtifactError where the model cannot.

    An engine compiles for the number of windows when it first meets it: better now than at work.
    """
    for count in range(1, _AT_ONCE + 1):
        try:
            found = scorer.model.terms(_zeros(count, artifact))
        except Exception as error:
            message = f"{artifact.folder}: its model fails on zeros ({error!r})"
            raise ArtifactError(message) from error
        expected = (count, len(scorer.calibration.term_names))
        if found.shape != expected:
            raise ArtifactError(
                f"{artifact.folder}: got terms of shape {found.shape}, expected {expected}"
            )


def _zeros(count: int, artifact: Artifact) -> TrackWindows:
    length = WindowConfig().length
    return TrackWindows(
        stamp_ns=0,
        epoch=0,
        image_size=(480, 640),
        tracks=Tracks(
            ids=tuple(f"0-{number}" for number in range(count)),
            boxes=np.tile(np.array([0, 0, 10, 20], np.float32), (count, 1)),
            scores=np.ones(count, np.float32),
            class_ids=np.zeros(count, np.int64),
            ages=np.zeros(count, np.int64),
            states=np.zeros(count, np.int64),
        ),
        observations=np.full(count, length, np.int64),
        index=np.arange(count, dtype=np.int64),
        features=np.zeros((count, length, artifact.layout.dim), np.float32),
        times=np.tile(np.linspace(-1, 0, length, dtype=np.float32), (count, 1)),
        valid=np.ones((count, length), np.bool_),
        stays=np.zeros(count, np.float32),
        feature_id=artifact.feature_id,
    )
