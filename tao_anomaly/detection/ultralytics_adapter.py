"""The only place that imports ultralytics (AGPL-3.0): YOLOv8 weights as a torch backend."""

from __future__ import annotations

import atexit
import hashlib
import inspect
import os
import pickle
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import ForwardOutput
from tao_anomaly.structures import FloatArray
from tao_anomaly.weights import EXPORT_SUFFIX, WeightsError

_OPSET = 17  # of ONNX; what ONNX Runtime, OpenVINO and TensorRT of 2023 and later read


class TorchBackend:
    """YOLOv8 run eagerly by torch; the input of the Detect layer is the feature pyramid."""

    name = "torch"

    def __init__(self, *, model: Any, weights_sha256: str, device: torch.device) -> None:
        self.device = device
        self.model = model.to(device).eval()
        self.weights_sha256 = weights_sha256
        self.class_names = {int(i): str(name) for i, name in self.model.names.items()}
        self.strides = tuple(int(s) for s in self.model.stride)
        # Of the pass under way; Detect, too, keeps the anchors of the last image size.
        self._maps: tuple[torch.Tensor, ...] = ()
        self._one_pass = threading.Lock()
        self.model.model[-1].register_forward_pre_hook(self._keep_maps)
        probe = self.forward(np.zeros((1, 3, 64, 64), np.float32))
        self.channels = tuple(int(level.shape[1]) for level in probe.maps)

    @staticmethod
    def load(path: Path, *, config: DetectorConfig) -> TorchBackend:
        """Load a YOLOv8 ``.pt`` file without executing anything it holds.

        Raises WeightsError where the file is no such checkpoint or holds other code.
        """
        device, ultralytics = torch_device(config.device), import_ultralytics()
        try:
            model = _read_checkpoint(path, ultralytics)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return TorchBackend(model=model, weights_sha256=digest, device=device)
        except Exception as error:  # a damaged file fails in any way: TypeError, AssertionError...
            raise WeightsError(
                f"{path}: cannot be used ({_reason(error)}); expected a YOLOv8 detection"
                " checkpoint; get one again or check its SHA-256"
            ) from error

    @torch.inference_mode()
    def forward(self, blob: FloatArray) -> ForwardOutput:
        """Run the network once on ``(B, 3, H, W)`` float32 RGB in 0..1."""
        with self._one_pass:
            output = self.model(torch.from_numpy(blob).to(self.device))[0]
            maps, self._maps = self._maps, ()
        if not isinstance(output, tuple):
            return ForwardOutput(output.float().cpu().numpy(), maps)
        predictions, prototypes = (part.float().cpu().numpy() for part in output)
        boxes = 4 + len(self.class_names)
        return ForwardOutput(predictions[:, :boxes], maps, predictions[:, boxes:], prototypes)

    def round_to_half(self) -> None:
        """Round all weights to what half precision holds; their hash says so."""
        with torch.no_grad():
            self.model.half().float()
        self.weights_sha256 = hashlib.sha256(f"half {self.weights_sha256}".encode()).hexdigest()

    def write_onnx(
        self, path: Path, example: FloatArray, *, names: Sequence[str], input_name: str
    ) -> None:
        """Write the graph from an image to predictions, pyramid and any prototypes, as `names`.

        example: ``(1, 3, H, W)``; batch, height and width of the graph are free.
        """
        head = self.model.model[-1]
        graph = _Graph(self)
        axes = {name: {0: "batch", 2: f"{name}_height", 3: f"{name}_width"} for name in names}
        axes[names[0]] = {0: "batch", 2: "anchors"}
        axes[input_name] = {0: "batch", 2: "height", 3: "width"}
        image = torch.from_numpy(example).to(self.device)
        with self._one_pass, warnings.catch_warnings(), torch.inference_mode():
            # The exporter by torch.export takes ten times as long and differs in nothing else.
            warnings.simplefilter("ignore")
            head.dynamic = True  # anchors are a part of the graph, not constants of one size
            try:
                torch.onnx.export(
                    graph,
                    (image,),
                    path,
                    input_names=[input_name],
                    output_names=list(names),
                    dynamic_axes=axes,
                    opset_version=_OPSET,
                    dynamo=False,
                )
            finally:
                head.dynamic = False
                self._maps = ()

    def _keep_maps(self, _module: torch.nn.Module, inputs: tuple[list[torch.Tensor]]) -> None:
        # Detect writes its own results over the entries of this list: keep the tensors, not it.
        self._maps = tuple(inputs[0])


class _Graph(torch.nn.Module):
    """The network as a function to a flat tuple of tensors, for export."""

    def __init__(self, backend: TorchBackend) -> None:
        super().__init__()
        self.network = backend.model
        self._backend = backend

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(image)[0]
        predictions, *prototypes = output if isinstance(output, tuple) else (output,)
        return (predictions, *self._backend._maps, *prototypes)


def torch_device(name: str) -> torch.device:
    """Return the device that `DetectorConfig.device` names; raises ValueError where it is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"DetectorConfig.device: got {name!r}, expected auto, cpu or a device of this machine"
            f" ({_reason(error)})"
        ) from error


def import_ultralytics() -> Any:
    """Import ultralytics with its downloads, pip calls and global settings held off."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    if "YOLO_CONFIG_DIR" not in os.environ:
        # It writes a settings file on import: not into the user's configuration.
        os.environ["YOLO_CONFIG_DIR"] = folder = tempfile.mkdtemp(prefix="tao_anomaly_")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    import cv2

    threads = torch.get_num_threads(), cv2.getNumThreads()
    printing = np.get_printoptions()
    import ultralytics.nn.modules
    import ultralytics.nn.tasks
    import ultralytics.utils

    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    np.set_printoptions(**printing)
    torch.set_printoptions(profile="default")
    return ultralytics


class _Stored(type):
    """Classes whose instances unpickle from their saved state, but which cannot be called.

    A pickle may call whatever it may name, and the constructors of ultralytics evaluate text.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise pickle.UnpicklingError(f"GLOBAL {cls.__name__} is called")


def _allowed(ultralytics: Any) -> list[Any]:
    """Return what a YOLOv8 checkpoint is made of, with names: nothing else may be unpickled."""
    nn, modules = torch.nn, ultralytics.nn.modules
    activations = [nn.SiLU, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Hardswish, nn.Mish, nn.Identity]
    plain = [nn.Sequential, nn.ModuleList, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Upsample]
    own = [c for _, c in inspect.getmembers(modules, inspect.isclass) if issubclass(c, nn.Module)]
    networks = [ultralytics.nn.tasks.DetectionModel, ultralytics.nn.tasks.SegmentationModel]
    layers = [*activations, *plain, nn.ConvTranspose2d, *own, *networks]
    stored = [(_Stored(c.__name__, (c,), {}), f"{c.__module__}.{c.__qualname__}") for c in layers]
    scalar = np.float64(0).__reduce__()[0]
    data = [
        ultralytics.utils.IterableSimpleNamespace,
        PosixPath,
        np.dtype,
        type(np.dtype(np.float64)),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
    return stored + data


def _read_checkpoint(path: Path, ultralytics: Any) -> Any:
    """Return the network of a checkpoint, fused; raises anything where it is none."""
    if path.suffix == EXPORT_SUFFIX:  # of which nobody has asked for a hash
        raise ValueError("it is named as an export")
    with torch.serialization.safe_globals(_allowed(ultralytics)):
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    whole = isinstance(checkpoint, dict)
    model = (checkpoint.get("ema") or checkpoint.get("model")) if whole else None
    if not isinstance(model, ultralytics.nn.tasks.DetectionModel):
        raise ValueError("it holds no YOLOv8 network")
    for layer in model.modules():
        layer.__class__ = type(layer).__base__  # from _Stored to the class itself
    heads = ultralytics.nn.modules.Detect, ultralytics.nn.modules.Segment
    if type(model.model[-1]) not in heads:
        raise ValueError(f"its last layer is {type(model.model[-1]).__name__}, expected Detect")
    model = model.float().eval()
    return model.fuse(verbose=False) if not model.is_fused() else model


def _reason(error: Exception) -> str:
    """Return why a checkpoint was refused, without torch's advice to load it unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        name = re.search(r"GLOBAL (\S+)", str(error))
        return f"it holds code: {name[1]}" if name else "its pickle is damaged"
    message = str(error).partition("\n")[0].partition(". ")[0]
    return message if isinstance(error, ValueError) else f"{type(error).__name__}: {message}"
