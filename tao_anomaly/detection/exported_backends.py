"""Engines that run an exported detector: ONNX Runtime, TensorRT through it, and OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tao_anomaly.detection.detector import ForwardOutput
from tao_anomaly.detection.exported import INPUT, BackendError, ExportedDetector
from tao_anomaly.openvino_graph import OpenVinoGraph
from tao_anomaly.structures import FloatArray


class _ExportedBackend:
    """What all engines of an exported detector have in common."""

    name: str

    def __init__(self, exported: ExportedDetector) -> None:
        self.exported = exported
        self.class_names = exported.class_names
        self.strides = exported.strides
        self.channels = exported.channels
        self.weights_sha256 = exported.weights_sha256

    def forward(self, blob: FloatArray) -> ForwardOutput:
        """Run the network once on ``(B, 3, H, W)`` float32 RGB in 0..1."""
        arrays = self._run(np.ascontiguousarray(blob))
        return self.exported.to_output(dict(zip(self.exported.output_names, arrays, strict=True)))

    def _run(self, blob: FloatArray) -> list[FloatArray]:
        raise NotImplementedError


class OnnxRuntimeBackend(_ExportedBackend):
    """ONNX Runtime on the CPU, in float32."""

    name = "onnxruntime"

    def __init__(self, exported: ExportedDetector, *, threads: int) -> None:
        super().__init__(exported)
        self._session = self._open(self._import(), threads)

    def _open(self, onnxruntime: Any, threads: int) -> Any:
        return onnxruntime.InferenceSession(
            self.exported.content,
            self._options(onnxruntime, threads),
            providers=["CPUExecutionProvider"],
        )

    @staticmethod
    def _import() -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError("onnxruntime is not installed; install it") from error
        return onnxruntime

    @staticmethod
    def _options(onnxruntime: Any, threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait busily take the cores from tracking and from other nodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _run(self, blob: FloatArray) -> list[FloatArray]:
        return self._session.run(list(self.exported.output_names), {INPUT: blob})


class TensorRtBackend(OnnxRuntimeBackend):
    """ONNX Runtime's TensorRT provider on a CUDA device, in float32.

    TensorRT builds its engine on the first start, for minutes, and keeps it in `cache`.
    """

    name = "tensorrt"
    _PROVIDER = "TensorrtExecutionProvider"

    def __init__(
        self, exported: ExportedDetector, *, threads: int, device: int, cache: Path
    ) -> None:
        self._device = device
        self._cache = cache
        super().__init__(exported, threads=threads)

    def _open(self, onnxruntime: Any, threads: int) -> Any:
        if self._PROVIDER not in onnxruntime.get_available_providers():
            raise BackendError(
                f"onnxruntime has no {self._PROVIDER} here; install onnxruntime-gpu and TensorRT,"
                " or choose another backend"
            )
        settings = {
            "device_id": self._device,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(self._cache),
            "trt_profile_min_shapes": f"{INPUT}:1x3x32x32",
            "trt_profile_opt_shapes": f"{INPUT}:1x3x448x640",
            "trt_profile_max_shapes": f"{INPUT}:32x3x1280x1280",
        }
        self._cache.mkdir(parents=True, exist_ok=True)
        session = onnxruntime.InferenceSession(
            self.exported.content,
            self._options(onnxruntime, threads),
            providers=[(self._PROVIDER, settings), "CPUExecutionProvider"],
        )
        if self._PROVIDER not in session.get_providers():
            raise BackendError("TensorRT did not start (see onnxruntime's log); take torch")
        return session


class OpenVinoBackend(_ExportedBackend):
    """OpenVINO on the CPU, in float32."""

    name = "openvino"
    precision = "f32"

    def __init__(self, exported: ExportedDetector, *, threads: int) -> None:
        super().__init__(exported)
        try:
            self._graph = OpenVinoGraph(exported.content, threads=threads, precision=self.precision)
        except ImportError as error:
            raise BackendError("openvino is not installed; install it") from error
        except ValueError as error:
            raise BackendError(str(error)) from error

    def _run(self, blob: FloatArray) -> list[FloatArray]:
        return self._graph.run({INPUT: blob})


class OpenVinoBfloat16Backend(OpenVinoBackend):
    """OpenVINO on a CPU with bfloat16 arithmetic, in bfloat16."""

    name = "openvino_bf16"
    precision = "bf16"
