"""Inference engines of the temporal MAE: torch, ONNX Runtime and OpenVINO behind one call."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tao_anomaly.model.masking import Masks
from tao_anomaly.model.temporal_mae import TemporalMAE, WindowTensors
from tao_anomaly.openvino_graph import OpenVinoGraph, gains_by_bfloat16

ONNX_FILE = "model.onnx"
OUTPUT_PREFIX = "out_"  # an ONNX graph names inputs and outputs apart
_INPUTS = ("appearance", "motion", "place", "times", "valid", "visible", "visible_valid", "grid")
_COMPILED_FOR = 12  # windows times masks, up to which a graph is compiled for each number of them


class Engine(Protocol):
    """Runs a trained temporal MAE."""

    name: str

    def run(self, windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
        """Return the heads' tensors, float32 on the CPU, for one mask a window."""
        ...


class ExportedGraph(nn.Module):
    """A temporal MAE as a function of plain tensors, for export.

    output_names: of the returned tuple.
    """

    def __init__(self, model: TemporalMAE) -> None:
        super().__init__()
        self.model = model
        self.output_names: tuple[str, ...] = ()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run on tensors in the order of `flatten`."""
        named = dict(zip(_INPUTS, tensors, strict=False))
        visible, visible_valid = named.pop("visible"), named.pop("visible_valid")
        windows = WindowTensors(**named)
        hidden = windows.valid[..., None].expand(-1, -1, 2)  # not read by the network
        outputs = self.model(windows, Masks(visible, visible_valid, hidden))
        self.output_names = tuple(outputs)
        return tuple(outputs.values())


def flatten(windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
    """Return the tensors an exported graph takes, by name and in order."""
    tensors = {
        "appearance": windows.appearance,
        "motion": windows.motion,
        "place": windows.place,
        "times": windows.times,
        "valid": windows.valid,
        "visible": masks.visible,
        "visible_valid": masks.visible_valid,
    }
    if windows.grid is not None:
        tensors["grid"] = windows.grid
    return tensors


class TorchEngine:
    """The network itself, in torch."""

    name = "torch"

    def __init__(self, model: TemporalMAE) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def run(self, windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
        """Run the network."""
        return self.model(windows, masks)


class OnnxRuntimeEngine:
    """An exported graph in ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait busily take the cores from the detector and from other nodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
        """Run the graph."""
        values = self._session.run(self._outputs, _arrays(windows, masks))
        named = zip(self._outputs, values, strict=True)
        return {name.removeprefix(OUTPUT_PREFIX): torch.from_numpy(value) for name, value in named}


class OpenVinoEngine:
    """An exported graph in OpenVINO on the CPU, in float32."""

    name = "openvino"
    precision = "f32"

    def __init__(self, path: Path) -> None:
        self._graph = OpenVinoGraph(
            path.read_bytes(), threads=torch.get_num_threads(), precision=self.precision
        )

    def run(self, windows: WindowTensors, masks: Masks) -> dict[str, Tensor]:
        """Run the graph."""
        arrays = _arrays(windows, masks)
        values = self._graph.run(arrays, fixed=len(windows) <= _COMPILED_FOR)
        named = zip(self._graph.output_names, values, strict=True)
        return {name.removeprefix(OUTPUT_PREFIX): torch.from_numpy(value) for name, value in named}


class OpenVinoBfloat16Engine(OpenVinoEngine):
    """An exported graph in OpenVINO on a CPU with bfloat16 arithmetic, in bfloat16."""

    name = "openvino_bf16"
    precision = "bf16"


def make_engine(model: TemporalMAE, exported: Path | None, backend: str) -> Engine:
    """Return the engine `backend` names; auto: the first that can of OpenVINO, ONNX Runtime, torch.

    OpenVINO computes in bfloat16 then where that pays, as the detector does. exported: the ONNX
    file, None where there is none. Raises ValueError where the named engine cannot run.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: got {backend!r}, expected one of {', '.join(BACKENDS)}")
    if backend == "auto":
        backend = next((name for name in _FILE_ENGINES if exported and _pays(name)), "torch")
    if backend == "torch":
        return TorchEngine(model)
    if exported is None:
        raise ValueError(
            f"backend {backend!r} needs {ONNX_FILE} in the artifact: make it with"
            " `python -m training.export model=FOLDER`, or choose backend torch"
        )
    return _FILE_ENGINES[backend](exported)


_FILE_ENGINES: dict[str, Callable[[Path], Engine]] = {  # best first
    "openvino_bf16": OpenVinoBfloat16Engine,
    "openvino": OpenVinoEngine,
    "onnxruntime": OnnxRuntimeEngine,
}
BACKENDS = ("auto", "torch", *_FILE_ENGINES)


def _pays(backend: str) -> bool:
    package, _, precision = backend.partition("_")
    if importlib.util.find_spec(package) is None:
        return False
    return not precision or gains_by_bfloat16(torch.cpu.get_capabilities())


def _arrays(windows: WindowTensors, masks: Masks) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in flatten(windows, masks).items()}
