"""The training loop of the temporal MAE."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from tao_anomaly.model.config import MaskConfig, ModelConfig, TrainingConfig
from tao_anomaly.model.engines import flatten
from tao_anomaly.model.losses import Targets, total_loss
from tao_anomaly.model.masking import Masks, random_masks
from tao_anomaly.model.preparation import WindowPreparation
from tao_anomaly.model.temporal_mae import TemporalMAE
from tao_anomaly.structures import IntArray
from training.batches import epoch_batches, positives
from training.checkpoint import load_checkpoint, save_checkpoint
from training.diagnostics import spreads
from training.window_table import WindowTable


class NonFiniteLossError(RuntimeError):
    """The loss is NaN or infinite; the batch that did it has been saved."""


@dataclass(frozen=True)
class TrainingData:
    """Windows and how they become tensors."""

    table: WindowTable
    preparation: WindowPreparation

    def targets(self, windows: IntArray, masks: Masks, temperature: float) -> Targets:
        """Return what a batch is trained on; `masks` are of its windows."""
        table = self.table
        features, times, valid, aspect = table.arrays(windows)
        rows_ahead = table.ahead[windows]
        future = self.preparation.future(features, valid, aspect, table.features(rows_ahead))
        return Targets(
            windows=self.preparation.tensors(features, times, valid, aspect),
            masks=masks,
            track=torch.from_numpy(table.track[windows]),
            positive=torch.from_numpy(positives(table, windows)),
            future=future,
            future_valid=torch.from_numpy(rows_ahead >= 0),
            temperature=temperature,
        )


def learning_rate(step: int, *, steps: int, config: TrainingConfig) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to zero (Loshchilov 2017)."""
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2


class Trainer:
    """Trains a temporal MAE; every step is a function of the seed, the step and the weights.

    folder: of the run; checkpoints lie in it. settings: what must be equal to resume.
    """

    def __init__(
        self,
        *,
        model: TemporalMAE,
        data: TrainingData,
        model_config: ModelConfig,
        masks: MaskConfig,
        training: TrainingConfig,
        accelerator: Accelerator,
        folder: Path,
    ) -> None:
        self.data = data
        self.masks = masks
        self.config = training
        self.accelerator = accelerator
        self.folder = folder
        self.settings: dict[str, Any] = {
            "model": asdict(model_config),
            "masks": asdict(masks),
            "training": asdict(training),
            "windows": len(data.table),
        }
        optimizer = torch.optim.AdamW(_parameter_groups(model, training.weight_decay), fused=True)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.steps_per_epoch = len(self._batches(0))
        self.steps = self.steps_per_epoch * training.epochs
        self.steps_per_second: float | None = None

    def run(self) -> TemporalMAE:
        """Train from the newest checkpoint, or from the start, to the end; return the model."""
        checkpoints = self.folder / "checkpoints"
        first = load_checkpoint(self.accelerator, checkpoints, settings=self.settings)
        begun, taken = time.monotonic(), 0
        for epoch in tqdm(
            range(first, self.config.epochs),
            initial=first,
            total=self.config.epochs,
            unit="epoch",
            disable=None if self.accelerator.is_main_process else True,  # None: a terminal alone
        ):
            self._train_epoch(epoch)
            taken += self.steps_per_epoch
            self.steps_per_second = taken / (time.monotonic() - begun)
            done = epoch + 1
            if done % self.config.checkpoint_every == 0 or done == self.config.epochs:
                save_checkpoint(self.accelerator, checkpoints, epoch=done, settings=self.settings)
        model: TemporalMAE = self.accelerator.unwrap_model(self.model)
        return model.eval()

    def _batches(self, epoch: int) -> list[IntArray]:
        size, seed = self.config.batch_size, self.config.seed
        return epoch_batches(self.data.table, batch_size=size, seed=seed, epoch=epoch)

    def _train_epoch(self, epoch: int) -> None:
        self.model.train()
        sums: defaultdict[str, Tensor | float] = defaultdict(float)
        begun, last = time.monotonic(), 0
        for i, batch in enumerate(self._batches(epoch)):
            step = epoch * self.steps_per_epoch + i
            for name, value in self._step(step, batch).items():
                sums[name] = sums[name] + value
            if (i + 1) % self.config.log_every == 0 or i + 1 == self.steps_per_epoch:
                count, now = i + 1 - last, time.monotonic()
                means = {name: float(value) / count for name, value in sums.items()}
                means["train/steps_per_second"] = count / (now - begun)
                self.accelerator.log(means, step=step + 1)
                sums.clear()
                begun, last = now, i + 1

    def _step(self, step: int, batch: IntArray) -> dict[str, Tensor | float]:
        """Take one optimiser step and return what is logged of it."""
        targets = self._targets(step, batch)
        rate = learning_rate(step, steps=self.steps, config=self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.accelerator.autocast():
            outputs = self.model(targets.windows, targets.masks)
        loss, parts = total_loss(outputs, targets, self.config.losses)
        if not torch.isfinite(loss):
            self._refuse(step, targets, parts)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        found = {"loss": loss, **parts, **spreads(outputs, targets.windows, targets.masks)}
        logged: dict[str, Tensor | float] = {f"train/{k}": v.detach() for k, v in found.items()}
        return logged | {"train/learning_rate": rate, "train/gradient_norm": norm or 0.0}

    def _targets(self, step: int, batch: IntArray) -> Targets:
        """Return this process's share of a batch, masked; the masks do not depend on the share."""
        generator = torch.Generator().manual_seed(_mix(self.config.seed, step))
        masks = random_masks(
            torch.from_numpy(self.data.table.valid[batch]),
            ratio=self.masks.ratio,
            cue_probability=self.masks.cue_probability,
            generator=generator,
        )
        accelerator = self.accelerator
        share = np.array_split(np.arange(len(batch)), accelerator.num_processes)
        own = share[accelerator.process_index]
        masks = masks.select(torch.from_numpy(own))
        targets = self.data.targets(batch[own], masks, self.config.temperature)
        return targets.to(accelerator.device)

    def _refuse(self, step: int, targets: Targets, parts: dict[str, Tensor]) -> None:
        path = self.folder / f"non_finite_batch_{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = flatten(targets.windows, targets.masks)
        safetensors.torch.save_file({k: v.cpu().clone() for k, v in tensors.items()}, path)
        values = ", ".join(f"{name} = {part.item():.6g}" for name, part in parts.items())
        raise NonFiniteLossError(
            f"step {step}: the loss is not finite ({values}); the batch is in {path}; look for"
            " broken features in it, or lower training.learning_rate"
        )


def _parameter_groups(model: TemporalMAE, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: not biases, norms, and tokens."""
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and n.endswith("weight")]
    kept = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in kept]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _mix(seed: int, step: int) -> int:
    """Return a seed for one step, far from those of its neighbours."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)
