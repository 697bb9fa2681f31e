"""The temporal MAE as a window model: reconstruction error and distance from normal embeddings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import Artifact, ArtifactError
from tao_anomaly.model.config import ModelConfig, ScoringConfig, TemporalMaeConfig, read_config
from tao_anomaly.model.engines import ONNX_FILE, Engine, make_engine
from tao_anomaly.model.examination import (
    TERMS,
    Examination,
    NormalErrors,
    check_scoring,
    examine,
    part_names,
)
from tao_anomaly.model.geometry import MOTION, PLACE
from tao_anomaly.model.heads import FeatureShape
from tao_anomaly.model.losses import CUES
from tao_anomaly.model.masking import Masks, partition_masks
from tao_anomaly.model.pooling import needs_grid
from tao_anomaly.model.preparation import WindowPreparation, raw_geometry
from tao_anomaly.model.registry import PLUGINS_VARIABLE, import_plugins
from tao_anomaly.model.standardizer import Standardizer
from tao_anomaly.model.temporal_mae import TemporalMAE
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.cues_artifact import read_cues
from tao_anomaly.scoring.window_model import JoinedModel
from tao_anomaly.structures import BoolArray, FeatureLayout, FloatArray, TrackWindows

KIND = "temporal_mae"
MIN_STEPS = 2  # with a single step nothing can be hidden and predicted


@dataclass(frozen=True)
class WindowExaminer:
    """Runs a network over windows with fixed masks: stateless and deterministic."""

    engine: Engine
    preparation: WindowPreparation
    config: TemporalMaeConfig

    def examine(
        self, features: FloatArray, times: FloatArray, valid: BoolArray, aspect: FloatArray
    ) -> Examination:
        """Run all passes over windows of MIN_STEPS valid steps or more, in one batch.

        features ``(M, T, D)``, times ``(M, T)`` in seconds, valid ``(M, T)``, aspect ``(M,)``:
        width over height of the image.
        """
        windows = self.preparation.tensors(features, times, valid, aspect)
        scoring = self.config.scoring
        masks = _fixed_masks(
            np.asarray(valid, np.bool_).tobytes(),
            steps=valid.shape[1],
            ratio=self.config.masks.ratio,
            time_passes=scoring.time_passes,
            cue_passes=scoring.cue_passes,
        )
        repeated = windows.repeat(len(masks.hidden) // len(windows))
        return examine(self.engine.run(repeated, masks), repeated, masks, scoring)


class TemporalMaeModel:
    """Scores windows by comparing what an examiner finds with what it finds in normal ones.

    normal: errors of normal windows. memory ``(R, E)``: embeddings of normal windows.
    """

    def __init__(
        self, *, examiner: WindowExaminer, normal: NormalErrors, memory: FloatArray
    ) -> None:
        check_scoring(examiner.config.scoring)
        self.examiner = examiner
        self.normal = normal
        self.memory = memory
        self.term_names = tuple(examiner.config.scoring.terms)

    @property
    def network_terms(self) -> tuple[str, ...]:
        """All terms."""
        return self.term_names

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        """Return the raw terms ``(M, K)``, NaN for windows of fewer than MIN_STEPS steps.

        network ``(M,)``: False where the terms are not asked for, NaN there too.
        """
        height, width = windows.image_size
        asked = np.ones(len(windows.index), np.bool_) if network is None else network
        scores = np.full((len(asked), len(self.term_names)), np.nan, np.float32)
        aspect = np.full(int(asked.sum()), width / height, np.float32)
        scores[asked] = self.score(
            windows.features[asked], windows.times[asked], windows.valid[asked], aspect
        )
        return scores

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Return the mean speed ``(M,)`` over the valid steps in person heights a second."""
        height, width = windows.image_size
        preparation = self.examiner.preparation
        kinematics = windows.features[..., preparation.layout.kinematics_slice]
        aspect = np.full(len(windows.index), width / height, np.float32)
        motion, _ = raw_geometry(kinematics, windows.valid, aspect, preparation.scale)
        speed = np.where(windows.valid, motion[..., MOTION.index("speed")], 0.0).sum(axis=1)
        return (speed / np.maximum(windows.valid.sum(axis=1), 1)).astype(np.float32)

    def step_deviations(self, windows: TrackWindows) -> FloatArray:
        """Return how far each step ``(M, T, 2)`` is off, in deviations of normal errors.

        Appearance (0) and motion (1), told by the other steps, or by the other cue where no time
        pass hid the step; NaN where none hid it or a window is not scored.
        """
        height, width = windows.image_size
        found = np.full((*windows.valid.shape, 2), np.nan, np.float32)
        usable = windows.valid.sum(axis=1) >= MIN_STEPS
        if usable.any():
            aspect = np.full(int(usable.sum()), width / height, np.float32)
            seen = self.examiner.examine(
                windows.features[usable], windows.times[usable], windows.valid[usable], aspect
            )
            off = {
                part: (errors - self.normal.mean[part].mean()) / self.normal.std[part].mean()
                for part, errors in seen.steps.items()
            }
            for i, cue in enumerate(CUES):
                by_steps = off[f"step_{cue}"]
                by_cue = off.get(f"cue_{cue}", by_steps)
                found[usable, :, i] = np.where(np.isnan(by_steps), by_cue, by_steps)
        return found

    def score(
        self, features: FloatArray, times: FloatArray, valid: BoolArray, aspect: FloatArray
    ) -> FloatArray:
        """Return the raw terms ``(M, K)`` of windows given as to ``WindowExaminer.examine``."""
        scores = np.full((len(valid), len(self.term_names)), np.nan, np.float32)
        usable = valid.sum(axis=1) >= MIN_STEPS
        if usable.any():
            seen = self.examiner.examine(
                features[usable], times[usable], valid[usable], aspect[usable]
            )
            columns = [TERMS[name](seen, self.normal, self.memory) for name in self.term_names]
            scores[usable] = np.stack(columns, axis=1)
        return scores


@lru_cache(maxsize=64)  # most windows are full: the same few masks again and again
def _fixed_masks(
    valid: bytes, *, steps: int, ratio: float, time_passes: int, cue_passes: bool
) -> Masks:
    """Return ``partition_masks`` of windows given by the bytes of their valid steps."""
    windows = torch.frombuffer(bytearray(valid), dtype=torch.bool).view(-1, steps)
    return partition_masks(windows, ratio=ratio, time_passes=time_passes, cue_passes=cue_passes)


def feature_shape(config: ModelConfig, layout: FeatureLayout) -> FeatureShape:
    """Return the sizes of what the network sees."""
    components = min(config.components, layout.appearance)
    return FeatureShape(appearance=components, motion=len(MOTION), place=len(PLACE))


def artifact_tensors(network: TemporalMAE, model: TemporalMaeModel) -> dict[str, np.ndarray]:
    """Return all arrays of a trained model by the key they have in an artifact."""
    tensors = {"memory": model.memory}
    for prefix, group in (
        ("network", {k: v.detach().cpu().numpy() for k, v in network.state_dict().items()}),
        ("standardizer", model.examiner.preparation.standardizer.tensors()),
        ("normal_errors", model.normal.tensors()),
    ):
        tensors |= {f"{prefix}.{key}": value for key, value in group.items()}
    return tensors


def with_cues(model: TemporalMaeModel, cues: Cues) -> JoinedModel:
    """Return the model with its cues beside it."""
    return JoinedModel(cues, model) if cues.term_names else JoinedModel(model)


def joined_weights(scoring: ScoringConfig) -> tuple[float, ...]:
    """Return the weights of the terms of ``with_cues``, in their order."""
    return (*scoring.cue_weights, *scoring.weights)


def build(artifact: Artifact) -> JoinedModel:
    """Return the model of an artifact with its cues; raises ArtifactError naming a wrong key."""
    model = build_network_model(artifact)
    names = model.examiner.config.scoring.cues
    return with_cues(model, read_cues(artifact, model.examiner.preparation.scale, names))


def build_network_model(artifact: Artifact, *, backend: str = "auto") -> TemporalMaeModel:
    """Return the temporal MAE an artifact holds; raises ArtifactError naming the wrong key.

    Modules are imported only if the user's environment names them, never for what an artifact says.
    """
    import_plugins(os.environ.get(PLUGINS_VARIABLE, "").split())
    try:
        config = read_config(artifact.config)
        check_scoring(config.scoring)
        use_grid = needs_grid(config.model.pooling)
        shape = feature_shape(config.model, artifact.layout)
        network = _network(artifact, config.model, shape)
        scale = SceneScale(**artifact.config["scene_scale"])
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{artifact.folder}/config.json: key 'config': {error}") from error
    preparation = WindowPreparation(
        layout=artifact.layout,
        scale=scale,
        standardizer=_standardizer(artifact, shape),
        use_grid=use_grid,
    )
    engine = make_engine(network, artifact.exports.get(ONNX_FILE), backend)
    return TemporalMaeModel(
        examiner=WindowExaminer(engine, preparation, config),
        normal=_normal_errors(artifact, config.scoring, shape),
        memory=artifact.tensor("memory", (None, config.model.embedding_dim)),
    )


def _network(artifact: Artifact, config: ModelConfig, shape: FeatureShape) -> TemporalMAE:
    with torch.device("meta"):  # no memory yet: first the shapes must be those in the file
        wanted = TemporalMAE(config, shape).state_dict()
    tensors = {
        key: torch.from_numpy(artifact.tensor(f"network.{key}", value.shape))
        for key, value in wanted.items()
    }
    held = {key for key in artifact.tensors if key.startswith("network.")}
    extra = sorted(held - {f"network.{key}" for key in wanted})
    if extra:
        raise ArtifactError(
            f"{artifact.folder}/model.safetensors: key {extra[0]!r} is none of this model's; train"
            " it again"
        )
    model = TemporalMAE(config, shape)
    model.load_state_dict(tensors)
    return model.eval()


def _standardizer(artifact: Artifact, shape: FeatureShape) -> Standardizer:
    width = artifact.layout.appearance
    shapes: dict[str, tuple[int, ...]] = {
        "appearance_mean": (width,),
        "appearance_basis": (shape.appearance, width),
        "motion_mean": (shape.motion,),
        "motion_std": (shape.motion,),
        "place_mean": (shape.place,),
        "place_std": (shape.place,),
    }
    return Standardizer.from_tensors(
        {key: artifact.tensor(f"standardizer.{key}", size) for key, size in shapes.items()}
    )


def _normal_errors(artifact: Artifact, scoring: ScoringConfig, shape: FeatureShape) -> NormalErrors:
    sizes = {"appearance": shape.appearance, "motion": shape.motion}
    names = {part: (sizes[part.partition("_")[2]],) for part in part_names(scoring)}
    found = {
        kind: {
            part: artifact.tensor(f"normal_errors.{part}.{kind}", n) for part, n in names.items()
        }
        for kind in ("mean", "std")
    }
    if not all((std > 0).all() for std in found["std"].values()):
        raise ArtifactError(f"{artifact.folder}: a key 'normal_errors.*.std' is not above 0")
    return NormalErrors(**found)
