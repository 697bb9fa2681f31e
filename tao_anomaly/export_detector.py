"""Export a YOLOv8 checkpoint to ONNX with predictions and P3, P4, P5 as outputs.

``python -m tao_anomaly.export_detector weights=yolov8n output=yolov8n.onnx``

The detector exports what it needs by itself and keeps it in the user's cache. A file made by this
command takes the place of the checkpoint (``detector.weights=yolov8n.onnx``) on machines without
ultralytics or without a cache.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import DetectorConfig, setting
from tao_anomaly.detection.export import export_checkpoint
from tao_anomaly.weights import EXPORT_SUFFIX, WeightsError, find_weights


@dataclass(frozen=True)
class ExportConfig:
    """Settings of the command."""

    weights: str = setting(DetectorConfig.weights, "YOLOv8 checkpoint: a path or a model's name")
    weights_sha256: str = setting(
        "", "SHA-256 of the checkpoint; empty: it must be a known one; `any`: it is trusted"
    )
    output: str = setting("", f"file to write, *{EXPORT_SUFFIX}")
    half: bool = setting(
        False, "store the weights in half precision: half the size, features of their own"
    )


def _body(config: ExportConfig) -> None:
    if not config.output.endswith(EXPORT_SUFFIX):
        raise WeightsError(f"give output=<file{EXPORT_SUFFIX}>, got {config.output!r}")
    target = Path(config.output).expanduser()
    path = find_weights(config.weights, sha256=config.weights_sha256, setting="weights_sha256")
    write_atomically(target, export_checkpoint(path, half=config.half))
    print(target)


def main() -> int:
    """Run the command line."""
    return run(ExportConfig, _body, description=__doc__, errors=(WeightsError, OSError))


if __name__ == "__main__":
    sys.exit(main())
