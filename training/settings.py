"""Settings of a training run, and the Hydra schema made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from tao_anomaly.command_line import unlocked
from tao_anomaly.config import CalibrationConfig, ScorerConfig, WindowConfig, setting
from tao_anomaly.model.config import MaskConfig, ModelConfig, ScoringConfig, TrainingConfig

SCHEMA = "train_schema"


@dataclass(frozen=True)
class DataConfig:
    """What is trained on."""

    store: str = setting("", "feature store of normal footage, as `training.extract` writes it")
    dataset: str = setting("", "dataset of the store; empty: all of them")
    split: str = setting("train", "split of the store, normal footage only; empty: all of it")
    stride: int = setting(4, "a track gives a training window every so many frames", minimum=1)


@dataclass(frozen=True)
class EvaluationConfig:
    """The report at the end."""

    windows: int = setting(2000, "most windows of the check clips the report is made on", minimum=2)


@dataclass(frozen=True)
class LoggerConfig:
    """Where curves go."""

    name: str = setting(
        "tensorboard", "tracker of accelerate", choices=("tensorboard", "wandb", "none")
    )
    project: str = setting("tao_anomaly", "project of the run")
    mode: str = setting("offline", "of Weights & Biases", choices=("offline", "online", "disabled"))


@dataclass(frozen=True)
class TrainRun:
    """All settings of `training.train`.

    windows: as the node is to cut them; training differs in the stride. plugins: modules imported
    first, which register poolings, heads or losses.
    """

    output: str = ""
    plugins: tuple[str, ...] = ()
    data: DataConfig = field(default_factory=DataConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    train: TrainingConfig = field(default_factory=TrainingConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    scorer: ScorerConfig = field(default_factory=ScorerConfig)
    eval: EvaluationConfig = field(default_factory=EvaluationConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Return nested settings as one level, ``{"model.depth": 6}``; lists and the like as text."""
    out: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value if isinstance(value, str | int | float) else str(value)
    return out


def register_schema() -> None:
    """Make TrainRun known to Hydra; its defaults are those of the dataclasses."""
    ConfigStore.instance().store(name=SCHEMA, node=unlocked(TrainRun))
