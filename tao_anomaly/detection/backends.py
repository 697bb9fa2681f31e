"""Which engine runs the detector: the one that is asked for, or the first that passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import Backend
from tao_anomaly.detection.export import load_export
from tao_anomaly.detection.exported import PREDICTIONS, BackendError, ExportedDetector, as_named
from tao_anomaly.detection.exported_backends import (
    OnnxRuntimeBackend,
    OpenVinoBackend,
    OpenVinoBfloat16Backend,
    TensorRtBackend,
)
from tao_anomaly.detection.self_test import compare, drawn_input
from tao_anomaly.detection.ultralytics_adapter import TorchBackend, torch_device
from tao_anomaly.openvino_graph import gains_by_bfloat16
from tao_anomaly.weights import EXPORT_SUFFIX, WeightsError, cache_folder, find_weights

log = logging.getLogger(__name__)

CPU_ORDER = ("openvino_bf16", "openvino", "onnxruntime", "torch")  # of `auto`, best first


def load_backend(config: DetectorConfig) -> Backend:
    """Load the weights that `config` names into the backend that it names.

    auto: torch on CUDA, else the first of CPU_ORDER that passes its self-test; the order is fixed
    and not timed, for runs on one machine must agree. Raises WeightsError for weights that are
    absent or no detector, BackendError for a backend that cannot run or differs from torch.
    """
    path = find_weights(config.weights, sha256=config.weights_sha256)
    device = torch_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.backend != "auto":
        return _load(config.backend, path, config, device)
    if device.type != "cpu":
        log.info("detector backend torch on %s", device)
        return _load("torch", path, config, device)
    return _first_that_passes(path, config, device)


def _first_that_passes(path: Path, config: DetectorConfig, device: torch.device) -> Backend:
    rejected = []
    for name in CPU_ORDER:
        try:
            if name == "openvino_bf16" and not gains_by_bfloat16(torch.cpu.get_capabilities()):
                raise BackendError("no faster than float32 on this CPU")
            backend = _load(name, path, config, device)
        except BackendError as error:
            rejected.append(f"{name}: {error}")
            continue
        log.info("detector backend %s%s", name, "".join(f"; not {reason}" for reason in rejected))
        return backend
    raise BackendError(f"{path}: no backend can run it ({'; '.join(rejected)})")


def _load(name: str, path: Path, config: DetectorConfig, device: torch.device) -> Backend:
    if name == "torch":
        if path.suffix == EXPORT_SUFFIX:
            raise BackendError(
                f"{path}: backend torch needs a .pt checkpoint; give one, or choose another backend"
            )
        return TorchBackend.load(path, config=config)
    if (name == "tensorrt") != (device.type == "cuda"):
        raise BackendError(f"backend {name} does not run on device {device}; set device or backend")
    try:
        exported = load_export(path)
        backend = _ENGINES[name](exported, config.threads or torch.get_num_threads(), device)
        return _tested(backend, exported)
    except WeightsError:
        raise
    except Exception as error:  # the exporter and each engine have their own
        reason = str(error).strip().partition("\n")[0]
        raise BackendError(
            f"{path}: backend {name} cannot run it ({type(error).__name__}: {reason}); choose"
            " another backend"
        ) from error


def _tested(backend: Backend, exported: ExportedDetector) -> Backend:
    """Return the backend if it computes what torch did when the detector was exported."""
    named, expected = as_named(backend.forward(drawn_input())), exported.reference
    agreement = compare(
        named[PREDICTIONS],
        tuple(named[level] for level in exported.levels),
        expected_predictions=expected[PREDICTIONS],
        expected_maps=tuple(expected[level] for level in exported.levels),
    )
    if not agreement.passed:
        raise BackendError(
            f"backend {backend.name} differs from torch ({agreement}); choose another"
        )
    log.debug("backend %s against torch: %s", backend.name, agreement)
    return backend


_ENGINES: dict[str, Callable[[ExportedDetector, int, torch.device], Backend]] = {
    "openvino_bf16": lambda file, threads, _: OpenVinoBfloat16Backend(file, threads=threads),
    "openvino": lambda file, threads, _: OpenVinoBackend(file, threads=threads),
    "onnxruntime": lambda file, threads, _: OnnxRuntimeBackend(file, threads=threads),
    "tensorrt": lambda file, threads, device: TensorRtBackend(
        file, threads=threads, device=device.index or 0, cache=cache_folder().with_name("tensorrt")
    ),
}
