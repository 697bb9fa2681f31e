"""ONNX graphs in OpenVINO on the CPU, compiled for the sizes of their inputs."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

_SIZES = 8  # of inputs that stay compiled: resolutions and batch sizes in turn


class OpenVinoGraph:
    """Runs a graph, in arithmetic of `precision`: f32 or bf16.

    content: the ONNX file. Raises ImportError where OpenVINO is not installed and ValueError where
    the CPU does not compute bfloat16.
    """

    def __init__(self, content: bytes, *, threads: int, precision: str = "f32") -> None:
        import openvino

        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise ValueError("this CPU computes no bfloat16; choose backend openvino")
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Said in each case: its own default is bfloat16 where the CPU has that.
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned threads of two processes share one core and leave another idle.
            "ENABLE_CPU_PINNING": False,
        }
        graph = core.read_model(io.BytesIO(content))
        self.output_names = tuple(output.get_any_name() for output in graph.outputs)
        self._one_run = threading.Lock()

        def request(sizes: tuple[tuple[str, tuple[int, ...]], ...]) -> Any:
            fixed = graph.clone()
            if sizes:
                fixed.reshape(dict(sizes))
            return core.compile_model(fixed, "CPU", settings).create_infer_request()

        self._request = lru_cache(_SIZES)(request)

    def run(self, inputs: Mapping[str, np.ndarray], *, fixed: bool = True) -> list[np.ndarray]:
        """Return the outputs in their order.

        fixed: compile for inputs of these sizes when they first come, which takes longer once and
        makes each run faster; otherwise one graph takes all sizes.
        """
        sizes = tuple((name, array.shape) for name, array in inputs.items()) if fixed else ()
        with self._one_run:
            results = self._request(sizes).infer(dict(inputs), share_inputs=True)
            return [results[index] for index in range(len(self.output_names))]


def gains_by_bfloat16(cpu: Mapping[str, Any]) -> bool:
    """Return whether bfloat16 pays on a CPU of these capabilities, as torch names them.

    AMX multiplies matrices of it, and AMD's AVX512_BF16 does twice the products of float32 at a
    time: it took 0.6 times as long. On an Intel CPU without AMX it took 1.3 to 1.5 times as long.
    """
    amd = str(cpu.get("cpu_name", "")).startswith("AMD")
    return bool(cpu.get("amx_bf16") or (amd and cpu.get("avx512_bf16")))
