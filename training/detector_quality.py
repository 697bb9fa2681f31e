"""How well a detector finds what the held-out scenes of Plaza show.

``python -m training.detector_quality [weights=plaza] [output=<.md file>]``
"""

from __future__ import annotations

import datetime
import shlex
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import DetectorConfig, setting
from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.ultralytics_training import average_precision
from tao_anomaly.evaluation.protocol import machine
from tao_anomaly.structures import BoolArray, Detections, FloatArray, IntArray
from tao_anomaly.weights import WeightsError, find_weights
from training.plaza_images import CLASS_NAMES, labelled_images, objects

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class QualityConfig:
    """Settings of the command."""

    images: int = setting(300, "images of held-out scenes", minimum=1)
    output: str = setting("", "Markdown file to write; empty: only print")
    date: str = setting("", "date in the report; empty: today")
    detector: DetectorConfig = field(default_factory=lambda: DetectorConfig(weights="plaza"))


@dataclass(frozen=True)
class ClassQuality:
    """Of a class: number of objects, share found by any detection, average precision."""

    objects: int
    recall: float
    precision: float


def quality(detector: Detector, *, images: int) -> dict[str, ClassQuality]:
    """Return the quality of each class on `images` of the held-out scenes.

    As everywhere, a detection is right if its class is and no better one has taken its object.
    """
    found: list[Detections] = []
    correct, wanted = [], []
    for rendered, categories in islice(labelled_images("val"), images):
        boxes, classes = objects(rendered, categories)
        found.append(detector.detect(rendered.image)[0])
        correct.append(matched(found[-1], boxes, classes))
        wanted.append(classes)
    right, truth = np.concatenate(correct), np.concatenate(wanted)
    labels = np.concatenate([detections.class_ids for detections in found])
    scores = np.concatenate([detections.scores for detections in found])
    precision = average_precision(right, scores, labels, truth)
    return {
        CLASS_NAMES[index]: ClassQuality(
            objects=int((truth == index).sum()),
            recall=float((right & (labels == index)).sum() / (truth == index).sum()),
            precision=value,
        )
        for index, value in precision.items()
    }


def matched(detections: Detections, boxes: FloatArray, classes: IntArray) -> BoolArray:
    """Return which detections ``(N,)``, best first, find one of the objects ``(M, 4)`` ``(M,)``."""
    overlaps = iou(detections.boxes, boxes)
    overlaps[detections.class_ids[:, None] != classes[None]] = 0
    hits = np.zeros(len(detections), np.bool_)
    for row, overlap in enumerate(overlaps):
        if len(boxes) and overlap.max() >= IOU_THRESHOLD:
            hits[row] = True
            overlaps[:, overlap.argmax()] = 0
    return hits


def report(config: QualityConfig, found: dict[str, ClassQuality]) -> str:
    """Return the report as Markdown."""
    command = shlex.join(["python", "-m", "training.detector_quality", *sys.argv[1:]])
    path = find_weights(config.detector.weights, sha256=config.detector.weights_sha256)
    lines = [
        f"# Quality of the detector {path.name}",
        "",
        f"- Date: {config.date or datetime.date.today()}",
        f"- Machine: {machine()}",
        f"- Command: {command}",
        f"- Images: {config.images} of scenes and squares that were not trained on",
        f"- Input: {config.detector.input_size} pixels, confidence from"
        f" {config.detector.confidence}; a detection is right from an IoU of {IOU_THRESHOLD}",
        f"- File: {path.stat().st_size / 1e6:.2f} MB",
        "",
        "| class | objects | recall | AP at IoU 0.5 |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {of.objects} | {of.recall:.1%} | {of.precision:.1%} |"
        for name, of in found.items()
    ]
    mean = np.mean([of.precision for of in found.values()])
    return "\n".join([*lines, f"| mean | | | {mean:.1%} |", ""])


def _body(config: QualityConfig) -> None:
    text = report(config, quality(Detector.from_config(config.detector), images=config.images))
    print(text)
    if config.output:
        write_atomically(Path(config.output).expanduser(), text)


def main() -> int:
    """Run the command line."""
    return run(QualityConfig, _body, description=__doc__, errors=(WeightsError, OSError))


if __name__ == "__main__":
    sys.exit(main())
