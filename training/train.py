"""Train the temporal MAE on a feature store of normal footage and save a calibrated artifact.

``python -m training.train data.store=FOLDER output=FOLDER`` (``--config-name fast``: the small one)
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import torch
from accelerate import Accelerator
from omegaconf import DictConfig, OmegaConf

from tao_anomaly.config import validate
from tao_anomaly.model.artifact import ArtifactError
from tao_anomaly.model.registry import import_plugins
from tao_anomaly.scoring.split import split_clips
from training.export import export_artifact
from training.fit import fit, save
from training.footage import load_footage
from training.loop import NonFiniteLossError
from training.report import write_report
from training.settings import TrainRun, flat, register_schema

ARTIFACT = "artifact"
ERRORS = (ValueError, FileNotFoundError, NonFiniteLossError, ArtifactError)


def train(run: TrainRun) -> str:
    """Run a training from store to artifact and return its model_id.

    The folder `output` gets ``artifact/``, ``checkpoints/``, ``report.md`` and the logger's files.
    A run that was interrupted goes on where its last checkpoint stands.
    """
    import_plugins(run.plugins)
    validate(run)
    if not run.output or not run.data.store:
        raise ValueError("give data.store=<feature store of normal footage> output=<folder>")
    folder = Path(run.output).expanduser()
    if run.train.threads:
        torch.set_num_threads(run.train.threads)
    footage = load_footage(run.data)
    split = split_clips(list(footage.clips), run.calibration)
    accelerator = make_accelerator(run, folder)
    result = fit(footage, split, run, accelerator)
    model_id = ""
    if accelerator.is_main_process:
        model_id = save(result, footage, split, run, folder / ARTIFACT)
        export_artifact(folder / ARTIFACT)
        print(
            write_report(
                folder, model_id=model_id, found=result.report, calibration=result.calibration
            )
        )
        print(f"model {model_id} saved to {folder / ARTIFACT}")
        accelerator.log({f"check/{name}": value for name, value in flat(result.report).items()})
        _log_artifact(accelerator, run, folder / ARTIFACT)
    accelerator.end_training()
    return model_id


def make_accelerator(run: TrainRun, folder: Path) -> Accelerator:
    """Return the accelerator with its tracker begun."""
    folder.mkdir(parents=True, exist_ok=True)
    name = run.logger.name
    accelerator = Accelerator(
        cpu=run.train.device == "cpu",
        mixed_precision=run.train.precision,
        log_with=None if name == "none" else name,
        project_dir=folder,
    )
    wandb = {"mode": run.logger.mode, "dir": str(folder)}
    accelerator.init_trackers(
        run.logger.project, config=flat(asdict(run)), init_kwargs={"wandb": wandb}
    )
    return accelerator


def _log_artifact(accelerator: Accelerator, run: TrainRun, folder: Path) -> None:
    if run.logger.name != "wandb":
        return
    import wandb

    entry = wandb.Artifact("temporal_mae", type="model")
    entry.add_dir(str(folder))
    accelerator.get_tracker("wandb", unwrap=True).log_artifact(entry)


def main() -> None:
    """Run the command line."""
    logging.getLogger("accelerate").setLevel(logging.WARNING)  # it names every file it saves
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic CUDA asks for it
    register_schema()
    hydra.main(version_base="1.3", config_path="../config/training", config_name="train")(_main)()


def _main(values: DictConfig) -> None:
    run: Any = OmegaConf.to_object(values)
    try:
        train(run)
    except ERRORS as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
