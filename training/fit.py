"""From normal footage to a calibrated artifact of the temporal MAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from tao_anomaly import __version__
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import save_artifact
from tao_anomaly.model.config import TemporalMaeConfig
from tao_anomaly.model.engines import TorchEngine
from tao_anomaly.model.examination import NormalErrors, check_scoring
from tao_anomaly.model.memory import select_coreset
from tao_anomaly.model.pooling import needs_grid
from tao_anomaly.model.preparation import WindowPreparation, raw_geometry
from tao_anomaly.model.standardizer import Standardizer
from tao_anomaly.model.temporal_mae import TemporalMAE
from tao_anomaly.model.window_model import (
    KIND,
    MIN_STEPS,
    TemporalMaeModel,
    WindowExaminer,
    artifact_tensors,
    feature_shape,
    joined_weights,
    with_cues,
)
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.fitting import calibrate
from tao_anomaly.scoring.split import Split
from tao_anomaly.structures import FeatureLayout, TrackFeatures
from training.evaluation import (
    compare_predictors,
    examine_all,
    measure_spread,
    shuffled_auc,
)
from training.loop import Trainer, TrainingData
from training.settings import TrainRun
from training.window_table import WindowTable, build_table

Clips = Mapping[str, Sequence[TrackFeatures]]


@dataclass(frozen=True)
class Footage:
    """Features of normal clips by name, all of one feature_id.

    settings: of detection, tracking and features, by stage.
    """

    clips: Clips
    layout: FeatureLayout
    feature_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def camera_motion(self) -> str:
        """Of the tracker the features were made with."""
        return str(self.settings.get("tracker", {}).get("camera_motion", "static"))

    def part(self, names: Sequence[str]) -> dict[str, Sequence[TrackFeatures]]:
        """Return some of the clips."""
        return {name: self.clips[name] for name in names}


@dataclass(frozen=True)
class FitResult:
    """A trained and calibrated model, with what the report says of it."""

    model: TemporalMaeModel
    cues: Cues
    network: TemporalMAE
    calibration: Calibration
    report: dict[str, Any]


def fit(footage: Footage, split: Split, run: TrainRun, accelerator: Accelerator) -> FitResult:
    """Train on the clips of `split.train`, calibrate and check on the others."""
    check_scoring(run.scoring)
    set_seed(run.train.seed, deterministic=True)
    settings = TemporalMaeConfig(model=run.model, masks=run.masks, scoring=run.scoring)
    data = training_data(footage, split, run)
    network = TemporalMAE(run.model, feature_shape(run.model, footage.layout))
    trainer = Trainer(
        model=network,
        data=data,
        model_config=run.model,
        masks=run.masks,
        training=run.train,
        accelerator=accelerator,
        folder=Path(run.output).expanduser(),
    )
    network = trainer.run().cpu()
    examiner = WindowExaminer(TorchEngine(network), data.preparation, settings)
    model = know_normal(examiner, data.table)
    cues = fit_cues(footage, split, run)
    calibration = calibrate(
        with_cues(model, cues),
        weights=joined_weights(run.scoring),
        calibration_clips=footage.part(split.calibration),
        check_clips=footage.part(split.check),
        feature_id=footage.feature_id,
        windows=run.windows,
        scorer=run.scorer,
        config=run.calibration,
    )
    report = _report(model, footage, split, run, trainer)
    return FitResult(model, cues, network, calibration, report)


def fit_cues(footage: Footage, split: Split, run: TrainRun) -> Cues:
    """Return the cues that stand beside the network, fitted on the same clips."""
    return Cues.fit(
        list(footage.part(split.train).values()),
        layout=footage.layout,
        seed=run.calibration.seed,
        camera_motion=footage.camera_motion,
        windows=run.windows,
        terms=run.scoring.cues,
    )


def training_data(footage: Footage, split: Split, run: TrainRun) -> TrainingData:
    """Cut the training windows and fit scene scale and standardisation on them."""
    layout = footage.layout
    use_grid = needs_grid(run.model.pooling)
    if use_grid and not layout.grid:
        raise ValueError(
            f"model.pooling {run.model.pooling!r} reads RoI grids, but the features hold none;"
            " extract them with features.grid=3 or choose model.pooling=gap"
        )
    table = _table(footage, split.train, run)
    scale = SceneScale.fit(
        (image for images in footage.part(split.train).values() for image in images),
        camera_motion=footage.camera_motion,
    )
    motion, place = raw_geometry(table.kinematic_windows(), table.valid, table.aspect, scale)
    standardizer = Standardizer.fit(
        appearance=table.visual[:, layout.appearance_slice].astype(np.float32),
        motion=motion,
        place=place,
        valid=table.valid,
        components=run.model.components,
    )
    return TrainingData(table, WindowPreparation(layout, scale, standardizer, use_grid))


def know_normal(examiner: WindowExaminer, table: WindowTable) -> TemporalMaeModel:
    """Return the model that knows what an examiner finds in the windows it was trained on."""
    seen = examine_all(examiner, table)
    embeddings = np.concatenate([part.embedding for part in seen])
    return TemporalMaeModel(
        examiner=examiner,
        normal=NormalErrors.fit(seen),
        memory=select_coreset(embeddings, examiner.config.scoring.memory_size),
    )


def save(result: FitResult, footage: Footage, split: Split, run: TrainRun, folder: Path) -> str:
    """Write the artifact and return its model_id."""
    examiner = result.model.examiner
    return save_artifact(
        folder,
        kind=KIND,
        feature_id=footage.feature_id,
        layout=footage.layout,
        config={
            **asdict(examiner.config),
            "scene_scale": asdict(examiner.preparation.scale),
            "fitted_with": {
                **footage.settings,
                "clips": list(split.train),
                "stride": run.data.stride,
                "train": asdict(run.train),
                "windows": asdict(run.windows),
                "scorer": {
                    "smoothing": run.scorer.smoothing,
                    "inherit_within": run.scorer.inherit_within,
                    "network_hop": run.scorer.network_hop,
                },
                "torch": torch.__version__,
                "tao_anomaly": __version__,
            },
        },
        tensors=artifact_tensors(result.network, result.model) | result.cues.tensors(),
        calibration=result.calibration,
    )


def _table(footage: Footage, names: Sequence[str], run: TrainRun) -> WindowTable:
    forecasts = "forecast" in run.model.outputs
    fewest = max(run.windows.min_observations, MIN_STEPS)  # a single step predicts nothing
    return build_table(
        footage.part(names).values(),
        layout=footage.layout,
        windows=replace(run.windows, hop=run.data.stride, min_observations=fewest),
        steps_ahead=run.model.forecast_steps if forecasts else 0,
    )


def _report(
    model: TemporalMaeModel, footage: Footage, split: Split, run: TrainRun, trainer: Trainer
) -> dict[str, Any]:
    check = _table(footage, split.check, run)
    count = run.eval.windows
    return {
        "training_windows": len(trainer.data.table),
        "check_windows": min(count, len(check)),
        "steps": trainer.steps,
        "steps_per_second": trainer.steps_per_second,
        "spread": measure_spread(model.examiner, check, count),
        "reconstruction": compare_predictors(model.examiner, check, count),
        "shuffled_auc": shuffled_auc(model, check, count, run.train.seed),
    }
