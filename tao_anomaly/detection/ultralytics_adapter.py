"""The only place that imports ultralytics (AGPL-3.0): YOLOv8 weights as a torch backend."""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import ForwardOutput
from tao_anomaly.structures import FloatArray
from tao_anomaly.weights import WeightsError


class TorchBackend:
    """YOLOv8 run eagerly by torch; the input of the Detect layer is the feature pyramid."""

    def __init__(self, *, model: Any, weights_sha256: str, device: str) -> None:
        self.device = _device(device)
        self.model = model.to(self.device).eval()
        self.weights_sha256 = weights_sha256
        self.class_names = {int(i): str(name) for i, name in self.model.names.items()}
        self.strides = tuple(int(s) for s in self.model.stride)
        self._maps: tuple[torch.Tensor, ...] = ()
        self.model.model[-1].register_forward_pre_hook(self._keep_maps)
        probe = self.forward(np.zeros((1, 3, 64, 64), np.float32))
        self.channels = tuple(int(level.shape[1]) for level in probe.maps)

    @staticmethod
    def load(path: Path, *, config: DetectorConfig) -> TorchBackend:
        """Load a YOLOv8 ``.pt`` file without executing anything it holds.

        Raises WeightsError where the file is no such checkpoint or holds other code.
        """
        model = _read_checkpoint(path)
        if config.threads:
            torch.set_num_threads(config.threads)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return TorchBackend(model=model, weights_sha256=digest, device=config.device)

    @torch.inference_mode()
    def forward(self, blob: FloatArray) -> ForwardOutput:
        """Run the network once on ``(B, 3, H, W)`` float32 RGB in 0..1."""
        predictions = self.model(torch.from_numpy(blob).to(self.device))[0]
        maps, self._maps = self._maps, ()
        return ForwardOutput(predictions.float().cpu().numpy(), maps)

    def _keep_maps(self, _module: torch.nn.Module, inputs: tuple[list[torch.Tensor]]) -> None:
        # Detect writes its own results over the entries of this list: keep the tensors, not it.
        self._maps = tuple(inputs[0])


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _import_ultralytics() -> Any:
    """Import ultralytics with its downloads, pip calls and global settings held off."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    # It writes a settings file on import: not into the user's configuration.
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="tao_anomaly_"))
    import cv2

    threads = torch.get_num_threads(), cv2.getNumThreads()
    import ultralytics.nn.modules
    import ultralytics.nn.tasks
    import ultralytics.utils

    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    np.set_printoptions(edgeitems=3, infstr="inf", linewidth=75, nanstr="nan", precision=8)
    torch.set_printoptions(profile="default")
    return ultralytics


def _safe_classes(ultralytics: Any) -> list[Any]:
    """Return the layer classes a YOLOv8 checkpoint is made of: nothing else may be unpickled."""
    layers = [torch.nn.modules, ultralytics.nn.modules]
    found = [c for module in layers for _, c in inspect.getmembers(module, inspect.isclass)]
    tasks = ultralytics.nn.tasks
    return [
        *(c for c in found if issubclass(c, torch.nn.Module)),
        tasks.DetectionModel,
        tasks.SegmentationModel,
        ultralytics.utils.IterableSimpleNamespace,
    ]


def _read_checkpoint(path: Path) -> Any:
    classes = _safe_classes(_import_ultralytics())
    remedy = "expected a YOLOv8 detection checkpoint; get one again or check its SHA-256"
    try:
        with torch.serialization.safe_globals(classes):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise WeightsError(f"{path}: cannot be loaded ({first}); {remedy}") from error
    model = (
        checkpoint.get("ema") or checkpoint.get("model") if isinstance(checkpoint, dict) else None
    )
    if model is None or not hasattr(model, "stride") or not hasattr(model, "names"):
        raise WeightsError(f"{path}: holds no detection model; {remedy}")
    model = model.float().eval()
    return model.fuse(verbose=False) if not model.is_fused() else model
