"""YOLOv8 from random weights, by the trainer of ultralytics (AGPL-3.0), offline and repeatable."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.ultralytics_adapter import TorchBackend, import_ultralytics
from tao_anomaly.structures import BoolArray, FloatArray, IntArray

_ARCHITECTURE = "cfg/models/v8/yolov8.yaml"  # in ultralytics' folder
_DEPTH, _MAX_CHANNELS = 0.33, 1024  # YOLOv8n's
# Of the distribution of a box's side, in strides from its centre: YOLOv8's 16 reach 480 pixels,
# more than scenes of people need, and the layers before them are as wide as four times this.
_SIDE_BINS = 8


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    width: share of YOLOv8's channels, of which YOLOv8n has 0.25. input_size: long side in pixels.
    """

    width: float
    input_size: int
    epochs: int
    batch: int
    learning_rate: float
    seed: int
    threads: int


def train_yolov8(
    dataset: Path,
    class_names: Mapping[int, str],
    recipe: Recipe,
    *,
    folder: Path,
    start: Path | None = None,
) -> Path:
    """Train on ``images/`` and ``labels/`` of `dataset`; return the checkpoint in `folder`.

    dataset: YOLO's layout, one ``.txt`` an image with rows of class, centre and size in shares of
    the image. start: a checkpoint of the same width to go on from; None: random weights. Nothing is
    fetched. Raises WeightsError where `start` is no checkpoint.
    """
    if start is not None:  # ultralytics unpickles whatever a file holds
        TorchBackend.load(start, config=DetectorConfig(device="cpu"))
    ultralytics = import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils.torch_utils import strip_optimizer

    class Offline(DetectionTrainer):
        """Takes data as described here, and validates nothing: both look for fonts or torchvision.

        Validation is `average_precision`'s, on what the exported file finds.
        """

        def get_dataset(self) -> dict[str, Any]:
            images, names = str(dataset / "images"), dict(class_names)
            return {"train": images, "val": images, "names": names, "nc": len(names), "channels": 3}

        def get_validator(self) -> Any:
            return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

        def validate(self) -> tuple[dict[str, float], float]:
            return {}, 0.0

        def final_eval(self) -> None:
            strip_optimizer(self.last)

    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            model = _architecture(Path(ultralytics.__file__).parent, recipe.width, Path(scratch))
            places = {
                "model": model,
                "project": str(folder),
                "pretrained": str(start or "") or False,
            }
            training = Offline(overrides={**_settings(recipe), **places})
            training.train()
    finally:
        torch.set_num_threads(threads)
    return Path(training.last)


def average_precision(
    correct: BoolArray, scores: FloatArray, found: IntArray, wanted: IntArray
) -> dict[int, float]:
    """Return the average precision of each class of `wanted`, as ultralytics computes it.

    correct, scores and found ``(N,)``: of a detection, whether it is matched with an object, its
    confidence and its class. wanted ``(M,)``: classes of the objects.
    """
    import_ultralytics()
    from ultralytics.utils.metrics import ap_per_class

    results = ap_per_class(correct[:, None], scores, found, wanted)
    precision, classes = results[5], results[6]
    return dict(zip(classes.tolist(), precision[:, 0].tolist(), strict=True))


def _architecture(package: Path, width: float, scratch: Path) -> str:
    """Write ultralytics' description of YOLOv8 with another width and return its path."""
    described = yaml.safe_load((package / _ARCHITECTURE).read_text("utf-8"))
    described["scales"] = {"n": [_DEPTH, width, _MAX_CHANNELS]}
    described["reg_max"] = _SIDE_BINS
    path = scratch / "yolov8n.yaml"
    path.write_text(yaml.safe_dump(described), "utf-8")
    return str(path)


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "nbs": recipe.batch,
        "imgsz": recipe.input_size,
        "rect": True,  # images of one shape and no mosaic, whose square costs twice as much
        "seed": recipe.seed,
        "optimizer": "AdamW",
        "lr0": recipe.learning_rate,
        "momentum": 0.9,
        "warmup_bias_lr": 0.0,
        "warmup_epochs": 1.0,
        "cos_lr": True,
        "scale": 0.25,
        "close_mosaic": 0,
        "name": "training",
        "exist_ok": True,
        "device": "cpu",
        "amp": False,  # its check fetches weights
        "plots": False,
        "save": False,  # but the last epoch
        "val": False,
    }
