"""Train the embedded detector: a narrow YOLOv8 on rendered scenes of Plaza, from random weights.

``python -m training.train_detector output=runs/plaza_detector`` writes ``plaza.onnx`` there, with
half-precision weights; `training.detector_quality` says how well it detects.
ultralytics' trainer does the work, so that the weights are under its licence, AGPL-3.0.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import DetectorConfig, setting
from tao_anomaly.detection.export import export_checkpoint
from tao_anomaly.detection.ultralytics_training import Recipe, train_yolov8
from tao_anomaly.weights import WeightsError, find_weights
from training.plaza_images import CLASS_NAMES, write_images


@dataclass(frozen=True)
class DetectorTraining:
    """Settings of the command."""

    output: str = setting("", "folder of images, checkpoint and exported file")
    start: str = setting("", "checkpoint of an earlier run to go on from; empty: random weights")
    start_sha256: str = setting(
        "", "SHA-256 of start; empty: it must be a known one; `any`: it is trusted"
    )
    images: int = setting(780, "rendered images to train on", minimum=1)
    width: float = setting(0.125, "share of YOLOv8's channels; YOLOv8n has 0.25", minimum=0.0625)
    epochs: int = setting(4, "passes over the images", minimum=1)
    batch: int = setting(4, "images a step", minimum=1)
    learning_rate: float = setting(0.002, "of AdamW, at its highest", minimum=0.0)
    input_size: int = setting(DetectorConfig.input_size, "long side in pixels", minimum=32)
    seed: int = setting(0, "of weights and order; the scenes are always the same", minimum=0)
    threads: int = setting(1, "CPU threads", minimum=1)


def train(config: DetectorTraining) -> None:
    """Render, train and export."""
    if not config.output:
        raise WeightsError("give output=<folder>")
    start = None
    if config.start:
        start = find_weights(config.start, sha256=config.start_sha256, setting="start_sha256")
    folder = Path(config.output).expanduser().resolve()
    write_images(folder / "dataset", config.images)
    recipe = Recipe(
        width=config.width,
        input_size=config.input_size,
        epochs=config.epochs,
        batch=config.batch,
        learning_rate=config.learning_rate,
        seed=config.seed,
        threads=config.threads,
    )
    checkpoint = train_yolov8(
        folder / "dataset",
        CLASS_NAMES,
        recipe,
        folder=folder,
        start=start,
    )
    content = export_checkpoint(checkpoint, half=True)
    write_atomically(folder / "plaza.onnx", content)
    print(f"{folder / 'plaza.onnx'}: {len(content) / 1e6:.2f} MB")


def main() -> int:
    """Run the command line."""
    return run(DetectorTraining, train, description=__doc__, errors=(WeightsError, OSError))


if __name__ == "__main__":
    sys.exit(main())
