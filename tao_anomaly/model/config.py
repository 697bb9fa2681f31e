"""Settings of the temporal MAE: architecture, masks, training, scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_anomaly.config import setting, validate


@dataclass(frozen=True)
class ModelConfig:
    """Architecture. Names in `pooling` and `outputs` are those of the registries."""

    pooling: str = setting("gap", "how a RoI becomes an appearance token: gap, attention or hybrid")
    components: int = setting(
        64,
        "whitened principal components of the GAP feature: what is seen and rebuilt",
        minimum=1,
        maximum=4096,
    )
    d_model: int = setting(256, "width of the encoder", minimum=8, maximum=4096)
    depth: int = setting(6, "blocks of the encoder", minimum=1, maximum=64)
    heads: int = setting(8, "attention heads of the encoder", minimum=1, maximum=64)
    mlp_ratio: int = setting(
        4, "hidden width of a block's MLP over its width", minimum=1, maximum=16
    )
    decoder_dim: int = setting(128, "width of the decoder", minimum=8, maximum=4096)
    decoder_depth: int = setting(2, "blocks of the decoder", minimum=1, maximum=64)
    decoder_heads: int = setting(4, "attention heads of the decoder", minimum=1, maximum=64)
    dropout: float = setting(0.0, "dropout of the blocks in training", minimum=0.0, maximum=0.9)
    outputs: tuple[str, ...] = setting(
        ("gaussian", "contrastive"),
        "output heads; reconstruction instead of gaussian: squared error, no predicted variance",
    )
    embedding_dim: int = setting(
        128, "dimensions of the contrastive embedding", minimum=2, maximum=4096
    )
    forecast_steps: int = setting(
        4, "future observations the forecast head predicts", minimum=1, maximum=64
    )
    time_unit: float = setting(
        0.1, "seconds that move the fastest position sinusoid by one radian", minimum=1e-3
    )


@dataclass(frozen=True)
class MaskConfig:
    """Which tokens the encoder does not see."""

    ratio: float = setting(0.75, "share of the valid steps hidden", minimum=0.5, maximum=0.95)
    cue_probability: float = setting(
        0.4,
        "share of training windows where one whole cue (motion or appearance, evenly) is hidden"
        " instead of steps",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation."""

    epochs: int = setting(50, "passes over the training windows", minimum=1)
    batch_size: int = setting(64, "windows in a step, over all processes", minimum=2)
    learning_rate: float = setting(1e-4, "peak learning rate of AdamW", minimum=0.0)
    weight_decay: float = setting(0.05, "AdamW weight decay of matrices", minimum=0.0)
    warmup: float = setting(
        0.05, "share of the steps that raise the learning rate", minimum=0.0, maximum=0.5
    )
    clip_norm: float = setting(1.0, "largest gradient norm", minimum=0.0)
    temperature: float = setting(0.1, "temperature of the contrastive loss", minimum=1e-3)
    losses: dict[str, float] = setting(  # noqa: RUF009
        {"reconstruction": 1.0, "contrastive": 0.3}, "weight of each loss, by its registry name"
    )
    threads: int = setting(0, "CPU threads; 0: torch's default", minimum=0)
    seed: int = setting(0, "seed of the weights, the masks and the order of the windows", minimum=0)
    precision: str = setting("no", "mixed precision of accelerate", choices=("no", "bf16", "fp16"))
    device: str = setting("auto", "auto: what accelerate finds", choices=("auto", "cpu"))
    log_every: int = setting(20, "steps between two log entries", minimum=1)
    checkpoint_every: int = setting(1, "epochs between two checkpoints", minimum=1)


@dataclass(frozen=True)
class ScoringConfig:
    """How a trained model scores a window."""

    terms: tuple[str, ...] = setting(
        ("step_appearance", "step_motion", "cue_appearance", "cue_motion", "dissimilarity"),
        "terms of the anomaly score; recon: the mean of the four errors as one term",
    )
    weights: tuple[float, ...] = setting(
        (0.2, 0.2, 0.2, 0.2, 0.2), "weight of each term in the score"
    )
    cues: tuple[str, ...] = setting(
        ("speed", "appearance", "flow", "class", "local_velocity", "stay"),
        "terms beside those of the network, of tao_anomaly.scoring.cues",
    )
    # Of the fast, speed has said already what local_velocity says: with 1, speed-ups of normal
    # footage were found less often than without it, with 0.5 as often. stay, which is 0 for all but
    # the longest of normal stays, cost them nothing with 1.
    cue_weights: tuple[float, ...] = setting(
        (1.0, 1.0, 1.0, 1.0, 0.5, 1.0), "weight of each cue in the score"
    )
    time_passes: int = setting(1, "passes with hidden steps", minimum=1, maximum=8)
    cue_passes: bool = setting(True, "one more pass with all motion hidden, one with appearance")
    memory_size: int = setting(
        512, "most normal embeddings kept for dissimilarity", minimum=1, maximum=100_000
    )


@dataclass(frozen=True)
class TemporalMaeConfig:
    """All that the artifact of a temporal MAE stores of its settings."""

    model: ModelConfig = field(default_factory=ModelConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)


def read_config(values: Mapping[str, Any]) -> TemporalMaeConfig:
    """Build the settings from an artifact's JSON; ValueError naming the key that is wrong."""
    parts: dict[str, Any] = {
        "model": ModelConfig,
        "masks": MaskConfig,
        "scoring": ScoringConfig,
    }
    built = {}
    for name, kind in parts.items():
        entries = values.get(name)
        if not isinstance(entries, Mapping):
            raise ValueError(f"{name}: got {entries!r}, expected settings by name")
        wrong = set(entries) ^ set(kind.__dataclass_fields__)
        if wrong:
            key = sorted(wrong)[0]
            raise ValueError(
                f"{name}.{key}: " + ("unknown setting" if key in entries else "missing setting")
            )
        typed = {key: _typed(f"{name}.{key}", kind(), key, value) for key, value in entries.items()}
        built[name] = kind(**typed)
        validate(built[name])
    return TemporalMaeConfig(**built)


def _typed(name: str, defaults: Any, key: str, value: Any) -> Any:
    """Return a setting of JSON as the type of its default; ValueError for another type."""
    default = getattr(defaults, key)
    wanted: type = type(default)
    if wanted is float and type(value) is int:
        return float(value)
    if wanted is tuple and type(value) in (list, tuple):
        return tuple(_typed_entry(name, default[0], entry) for entry in value)
    if type(value) is not wanted:
        raise ValueError(f"{name}: got {value!r}, expected {wanted.__name__}")
    return value


def _typed_entry(name: str, like: Any, entry: Any) -> Any:
    if type(entry) is not type(like):
        raise ValueError(f"{name}: got {entry!r} in it, expected {type(like).__name__}")
    return entry
