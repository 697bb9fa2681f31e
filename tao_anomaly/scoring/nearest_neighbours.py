"""Baseline without training: speed, and distance of the appearance to the nearest normal one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import Artifact, ArtifactError
from tao_anomaly.structures import FeatureLayout, FloatArray, TrackFeatures, TrackWindows

KIND = "nearest_neighbours"
TERMS = ("speed", "appearance")
WEIGHTS = (0.5, 0.5)
_MEMORY = 4000  # most normal appearances kept
_Y = KINEMATICS.index("y")
_LOG_HEIGHT = KINEMATICS.index("log_height")
_VELOCITY = slice(KINEMATICS.index("velocity_x"), KINEMATICS.index("velocity_y") + 1)


@dataclass(frozen=True)
class NearestNeighbours:
    """Scores the newest step of a window.

    speed: person heights a second. appearance: Euclidean distance of the standardised GAP feature
    to the nearest of `memory` ``(R, A)``, a feature's deviation being 1.
    """

    layout: FeatureLayout
    scale: SceneScale
    mean: FloatArray
    deviation: FloatArray
    memory: FloatArray
    term_names: tuple[str, ...] = TERMS

    @staticmethod
    def fit(
        clips: Sequence[Sequence[TrackFeatures]],
        *,
        layout: FeatureLayout,
        seed: int = 0,
        camera_motion: str = "static",
    ) -> NearestNeighbours:
        """Fit on the images of normal clips; raises ValueError where no object was tracked.

        camera_motion: of the tracker's settings; only a static camera's scene has a scale.
        """
        images = [image for clip in clips for image in clip if len(image.tracks)]
        if not images:
            raise ValueError(
                "got no tracked object in the normal footage, expected some; check the footage, the"
                " detector's weights and its confidence"
            )
        seen = np.concatenate([i.features[:, layout.appearance_slice] for i in images])
        mean, deviation = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)
        rows = np.arange(len(seen))
        if len(rows) > _MEMORY:
            rows = np.sort(np.random.default_rng(seed).choice(rows, _MEMORY, replace=False))
        memory = (seen[rows] - mean) / deviation
        scale = SceneScale.fit(images, camera_motion=camera_motion)
        return NearestNeighbours(layout, scale, mean, deviation, memory)

    def terms(self, windows: TrackWindows) -> FloatArray:
        """Return ``(M, 2)``: speed and appearance distance of the newest step."""
        distance = self._distance(windows.features[:, -1, self.layout.appearance_slice])
        return np.stack([self.speeds(windows), distance], axis=1).astype(np.float32)

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Return the speed ``(M,)`` of the newest step in person heights a second."""
        kinematics = windows.features[:, -1, self.layout.kinematics_slice]
        height = np.exp(kinematics[:, _LOG_HEIGHT]).astype(np.float32)
        person = self.scale.person_height(
            (kinematics[:, _Y] + height / 2).astype(np.float32), height
        )
        return np.linalg.norm(kinematics[:, _VELOCITY], axis=1) / person

    def _distance(self, appearance: FloatArray) -> FloatArray:
        values = (appearance - self.mean) / self.deviation
        squared = (
            (values**2).sum(axis=1)[:, None]
            - 2 * values @ self.memory.T
            + self._memory_squared[None, :]
        )
        nearest = squared.min(axis=1) if squared.size else np.zeros(len(values))
        return np.sqrt(np.maximum(nearest, 0) / values.shape[1])

    @cached_property
    def _memory_squared(self) -> FloatArray:
        return (self.memory**2).sum(axis=1)

    def config(self) -> dict[str, Any]:
        """Return what the artifact's JSON holds."""
        return {"scene_scale": asdict(self.scale)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what the artifact's safetensors hold."""
        return {"mean": self.mean, "deviation": self.deviation, "memory": self.memory}


def build(artifact: Artifact) -> NearestNeighbours:
    """Return the model of a verified artifact; raises ArtifactError naming the key."""
    width = artifact.layout.appearance
    try:
        scale = SceneScale(**artifact.config["scene_scale"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{artifact.folder}: key 'scene_scale' is wrong ({error})") from error
    return NearestNeighbours(
        layout=artifact.layout,
        scale=scale,
        mean=artifact.tensor("mean", (width,)),
        deviation=artifact.tensor("deviation", (width,)),
        memory=artifact.tensor("memory", (None, width)),
    )
