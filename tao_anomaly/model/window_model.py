"""The temporal MAE as a window model: reconstruction error and distance from normal embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import Artifact, ArtifactError
from tao_anomaly.model.config import ModelConfig, ScoringConfig, TemporalMaeConfig, read_config
from tao_anomaly.model.engines import ONNX_FILE, Engine, make_engine
from tao_anomaly.model.geometry import MOTION, PLACE
from tao_anomaly.model.heads import FeatureShape
from tao_anomaly.model.losses import token_errors
from tao_anomaly.model.masking import APPEARANCE, MOTION_CUE, partition_masks
from tao_anomaly.model.memory import dissimilarity
from tao_anomaly.model.pooling import needs_grid
from tao_anomaly.model.preparation import WindowPreparation
from tao_anomaly.model.registry import PLUGINS_VARIABLE, import_plugins
from tao_anomaly.model.standardizer import Standardizer
from tao_anomaly.model.temporal_mae import TemporalMAE
from tao_anomaly.structures import BoolArray, FeatureLayout, FloatArray, TrackWindows

KIND = "temporal_mae"
MIN_STEPS = 2  # with a single step nothing can be hidden and predicted


@dataclass(frozen=True)
class Examination:
    """What the passes over M windows found.

    steps ``(M, T, 2)``: error of each step's appearance (0) and motion (1), the mean of the time
    passes that hid it, NaN where the step is invalid or never hidden. cues ``(M, T, 2)``: the error
    where the whole cue was hidden, NaN where the step is invalid or without cue passes. embedding
    ``(M, E)``: mean over the time passes, length 1.
    """

    steps: FloatArray
    cues: FloatArray
    embedding: FloatArray


def _recon(seen: Examination, memory: FloatArray) -> FloatArray:
    parts = [_window_mean(seen.steps).mean(axis=1), _window_mean(seen.cues).mean(axis=1)]
    return np.nanmean(np.stack(parts), axis=0)


def _window_mean(errors: FloatArray) -> FloatArray:
    """Return the mean ``(M, 2)`` of errors ``(M, T, 2)`` over the steps that have one."""
    known = np.isfinite(errors)
    count = known.sum(axis=1)
    total = np.where(known, errors, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


TERMS: dict[str, Callable[[Examination, FloatArray], FloatArray]] = {
    "recon": _recon,
    "step_appearance": lambda seen, _: _window_mean(seen.steps)[:, APPEARANCE],
    "step_motion": lambda seen, _: _window_mean(seen.steps)[:, MOTION_CUE],
    "cue_appearance": lambda seen, _: _window_mean(seen.cues)[:, APPEARANCE],
    "cue_motion": lambda seen, _: _window_mean(seen.cues)[:, MOTION_CUE],
    "dissimilarity": lambda seen, memory: dissimilarity(seen.embedding, memory),
}
"""Raw terms ``(M,)`` by name, from an Examination and the memory ``(R, E)``.

recon: mean of the four below it. step_*: hidden steps, told by the others of the same cue (is it
steady?). cue_*: a cue told by the other one, place and size (is it usual here?).
"""


class TemporalMaeModel:
    """Scores windows with fixed masks; stateless and deterministic.

    engine: what runs the network. memory ``(R, E)``: normal embeddings.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        preparation: WindowPreparation,
        config: TemporalMaeConfig,
        memory: FloatArray,
    ) -> None:
        check_scoring(config.scoring)
        self.engine = engine
        self.preparation = preparation
        self.config = config
        self.memory = memory
        self.term_names = tuple(config.scoring.terms)

    def terms(self, windows: TrackWindows) -> FloatArray:
        """Return the raw terms ``(M, K)``, NaN for windows of fewer than MIN_STEPS steps."""
        height, width = windows.image_size
        aspect = np.full(len(windows.index), width / height, np.float32)
        return self.score(windows.features, windows.times, windows.valid, aspect)

    def score(
        self, features: FloatArray, times: FloatArray, valid: BoolArray, aspect: FloatArray
    ) -> FloatArray:
        """Return the raw terms ``(M, K)`` of features ``(M, T, D)``, as `terms` does."""
        scores = np.full((len(valid), len(self.term_names)), np.nan, np.float32)
        usable = valid.sum(axis=1) >= MIN_STEPS
        if usable.any():
            seen = self.examine(features[usable], times[usable], valid[usable], aspect[usable])
            columns = [TERMS[name](seen, self.memory) for name in self.term_names]
            scores[usable] = np.stack(columns, axis=1)
        return scores

    def examine(
        self, features: FloatArray, times: FloatArray, valid: BoolArray, aspect: FloatArray
    ) -> Examination:
        """Run all passes over windows of MIN_STEPS valid steps or more, in one batch."""
        windows = self.preparation.tensors(features, times, valid, aspect)
        scoring, count = self.config.scoring, len(windows)
        masks = partition_masks(
            windows.valid,
            ratio=self.config.masks.ratio,
            time_passes=scoring.time_passes,
            cue_passes=scoring.cue_passes,
        )
        repeated = windows.repeat(len(masks.hidden) // count)
        outputs = self.engine.run(repeated, masks)
        errors = token_errors(outputs, repeated).view(-1, count, *masks.hidden.shape[1:])
        hidden = masks.hidden.view(errors.shape)
        time = slice(0, scoring.time_passes)
        return Examination(
            steps=mean_where(errors[time], hidden[time]).numpy(),
            cues=whole_cue_errors(errors, hidden, scoring).numpy(),
            embedding=mean_direction(outputs["embedding"], count, scoring.time_passes).numpy(),
        )


def mean_where(errors: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean ``(M, T, 2)`` over the passes ``(P, M, T, 2)`` that hid a token, else NaN."""
    return torch.where(hidden, errors, 0.0).sum(dim=0) / hidden.sum(dim=0)


def whole_cue_errors(errors: Tensor, hidden: Tensor, scoring: ScoringConfig) -> Tensor:
    """Return each cue's errors ``(M, T, 2)`` from the pass ``(P, M, T, 2)`` that hid all of it."""
    if not scoring.cue_passes:
        return torch.full(errors.shape[1:], float("nan"))
    motion_hidden, appearance_hidden = scoring.time_passes, scoring.time_passes + 1
    found = torch.stack(
        (errors[appearance_hidden, ..., APPEARANCE], errors[motion_hidden, ..., MOTION_CUE]), -1
    )
    whole = torch.stack(
        (hidden[appearance_hidden, ..., APPEARANCE], hidden[motion_hidden, ..., MOTION_CUE]), -1
    )
    return found.masked_fill(~whole, float("nan"))


def mean_direction(embedding: Tensor, count: int, passes: int) -> Tensor:
    """Return the unit mean ``(M, E)`` of the first `passes` passes of ``(P * M, E)``."""
    mean = embedding.view(-1, count, embedding.shape[-1])[:passes].mean(dim=0)
    return torch.nn.functional.normalize(mean, dim=-1)


def feature_shape(config: ModelConfig, layout: FeatureLayout) -> FeatureShape:
    """Return the sizes of what the network sees."""
    components = min(config.components, layout.appearance)
    return FeatureShape(appearance=components, motion=len(MOTION), place=len(PLACE))


def artifact_tensors(
    model: TemporalMAE, preparation: WindowPreparation, memory: FloatArray
) -> dict[str, np.ndarray]:
    """Return all arrays of a trained model by the key they have in an artifact."""
    tensors = {"memory": memory}
    for prefix, group in (
        ("network", {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}),
        ("standardizer", preparation.standardizer.tensors()),
    ):
        tensors |= {f"{prefix}.{key}": value for key, value in group.items()}
    return tensors


def build(artifact: Artifact, *, backend: str = "auto") -> TemporalMaeModel:
    """Return the model an artifact holds; raises ArtifactError naming the key that is wrong.

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
    return TemporalMaeModel(
        engine=make_engine(network, artifact.exports.get(ONNX_FILE), backend),
        preparation=preparation,
        config=config,
        memory=artifact.tensor("memory", (None, config.model.embedding_dim)),
    )


def check_scoring(config: ScoringConfig) -> None:
    """Raise ValueError for a term there is not, or another number of weights than of terms."""
    unknown = sorted(set(config.terms) - set(TERMS))
    if unknown:
        raise ValueError(f"scoring.terms: got {unknown}, expected some of {list(TERMS)}")
    if not config.cue_passes and any(name.startswith("cue_") for name in config.terms):
        raise ValueError("scoring.terms: got cue terms without passes for them; set cue_passes")
    if len(config.weights) != len(config.terms):
        raise ValueError(
            f"scoring.weights: got {len(config.weights)} weights for {len(config.terms)} terms"
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
