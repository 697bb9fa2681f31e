"""What only a GPU makes worth measuring: batches of images, batches of windows, training."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from tao_anomaly.config import PipelineConfig, WindowConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.model.masking import partition_masks
from tao_anomaly.model.window_model import build_network_model
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import NANOSECONDS, Frame

_GIB = 2**30


@dataclass(frozen=True)
class BatchSizes:
    """How much is measured: images and windows in a batch, batches."""

    images: int = 32
    windows: int = 4096
    batches: int = 20


def measure_batches(
    frames: Sequence[Frame],
    config: PipelineConfig,
    detector: Detector,
    *,
    device: torch.device,
    model: str,
    store: str,
    sizes: BatchSizes = BatchSizes(),
) -> str:
    """Return the table of `device`; what needs `model` or `store` is left out without it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rows = extraction_rows(frames, config, detector, device, sizes)
    if model:
        rows.append(windows_row(model, device, sizes))
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / _GIB
        rows.append(("peak memory of the above", f"{peak:.2f} GiB"))
    if store:
        rows.append(training_row(store))
    lines = ["| on the device | figure |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {name} | {figure} |" for name, figure in rows)])


def extraction_rows(
    frames: Sequence[Frame],
    config: PipelineConfig,
    detector: Detector,
    device: torch.device,
    sizes: BatchSizes,
) -> list[tuple[str, str]]:
    """Time batched extraction in turns with the forward pass of the same batches."""
    perception = Perception.from_config(config, detector=detector)
    letterbox = detector.letterbox(frames[0].image)
    step_ns = frames[1].stamp_ns - frames[0].stamp_ns or NANOSECONDS // 25
    images = cycle(frames)
    forward: list[float] = []
    whole: list[float] = []
    for number in range(sizes.batches + 2):
        batch = list(islice(images, sizes.images))
        blob = np.concatenate([letterbox.blob(frame.image) for frame in batch])
        forward.append(seconds(partial(detector.backend.forward, blob), device))
        start = number * sizes.images
        stream = [
            Frame(frame.image, (start + i) * step_ns, start + i) for i, frame in enumerate(batch)
        ]

        def extract(stream: list[Frame] = stream) -> None:
            found = detector.detect_all([frame.image for frame in stream])
            for frame, objects in zip(stream, found, strict=True):
                perception.process(frame, objects)

        whole.append(seconds(extract, device))
    rates = [sizes.images / float(np.median(times[2:])) for times in (forward, whole)]
    return [
        (f"forward alone, {sizes.images} images a batch", f"{rates[0]:.1f} images/s"),
        ("extraction of the same batches, one process", f"{rates[1]:.1f} images/s"),
        ("extraction / forward", f"{rates[1] / rates[0]:.1%}"),
    ]


def windows_row(model: str, device: torch.device, sizes: BatchSizes) -> tuple[str, str]:
    """Time the network with all its mask passes over windows that lie on the device."""
    found = build_network_model(load_artifact(model), backend="torch")
    network, examiner = found.examiner.engine.model.to(device), found.examiner  # type: ignore[attr-defined]
    random = np.random.default_rng(0)
    shape = sizes.windows, WindowConfig().length
    features = random.normal(0, 0.5, (*shape, examiner.preparation.layout.dim)).astype(np.float32)
    times = np.tile(np.linspace(-1.5, 0, shape[1], dtype=np.float32), (shape[0], 1))
    windows = examiner.preparation.tensors(
        features, times, np.ones(shape, np.bool_), np.full(shape[0], 1.5, np.float32)
    )
    scoring = examiner.config.scoring
    masks = partition_masks(
        windows.valid,
        ratio=examiner.config.masks.ratio,
        time_passes=scoring.time_passes,
        cue_passes=scoring.cue_passes,
    )
    passes = len(masks.hidden) // len(windows)
    repeated, moved = windows.repeat(passes).to(device), masks.to(device)

    def run() -> None:
        with torch.inference_mode():
            network(repeated, moved)

    taken = [seconds(run, device) for _ in range(sizes.batches + 2)][2:]
    rate = sizes.windows / float(np.median(taken))
    name = f"windows through the network, {passes} passes each, {sizes.windows} a batch, float32"
    return name, f"{rate:.0f} windows/s"


def training_row(store: str) -> tuple[str, str]:
    """Time the training command, from the store to the saved artifact."""
    script = Path(__file__).resolve().parents[2] / "training" / "train.py"
    with tempfile.TemporaryDirectory() as folder:
        words = [f"data.store={store}", f"output={folder}/run", f"hydra.run.dir={folder}/hydra"]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, str(script), *words, "logger=none"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return f"`train.py data.store={store}`, whole command", f"{time.perf_counter() - start:.0f} s"


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long `work` takes, until the device has done it."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
