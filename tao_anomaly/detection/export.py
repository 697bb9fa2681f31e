"""YOLOv8 checkpoints as ONNX files of predictions and pyramid, exported once and kept."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.exported import (
    EXPORT_VERSION,
    INPUT,
    ExportedDetector,
    as_named,
    describe,
    parse,
)
from tao_anomaly.detection.self_test import drawn_input
from tao_anomaly.weights import EXPORT_SUFFIX, WeightsError, cache_folder

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)


def export_checkpoint(path: Path, *, half: bool = False) -> bytes:
    """Return the ONNX file of a YOLOv8 ``.pt`` file; raises WeightsError where it is none.

    half: the file holds its weights in half precision. Engines compute in float32 nevertheless;
    for the features differ, so does ``weights_sha256``.
    """
    import onnx

    from tao_anomaly.detection.ultralytics_adapter import TorchBackend

    backend = TorchBackend.load(path, config=DetectorConfig(device="cpu"))
    if half:
        backend.round_to_half()
    image = drawn_input()
    reference = as_named(backend.forward(image))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "graph.onnx"
        backend.write_onnx(file, image, names=list(reference), input_name=INPUT)
        graph = onnx.load(file)
    if half:
        store_in_half(graph)
    return describe(
        graph,
        class_names=backend.class_names,
        strides=backend.strides,
        weights_sha256=backend.weights_sha256,
        reference={name: np.ascontiguousarray(array) for name, array in reference.items()},
    )


def store_in_half(graph: onnx.ModelProto) -> None:
    """Replace float32 weights that half precision holds exactly by that and a cast to float32."""
    import onnx

    casts = []
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32:
            continue
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.array_equal(halves, values):
            continue
        name, stored = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(halves, stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.graph.node.insert(0, cast)


def load_export(weights: Path, *, cache: Path | None = None) -> ExportedDetector:
    """Return the export of a checkpoint, from `cache` (the user's by default) if it is there.

    weights: a ``.pt`` file, or an exported ``.onnx`` file, which is read as it is. Raises
    WeightsError where it is neither.
    """
    if weights.suffix == EXPORT_SUFFIX:
        return parse(weights.read_bytes(), name=str(weights))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    folder = cache or cache_folder().with_name("detectors")
    exported = _read_cache(folder, digest)
    if exported is None:
        log.info("exporting %s to ONNX, once", weights)
        content = export_checkpoint(weights)
        exported = parse(content, name=str(weights))
        try:
            write_atomically(_cached_file(folder, digest, content), content)
        except OSError as error:
            log.warning("the export of %s is not kept (%s)", weights, error)
    return exported


def _cached_file(folder: Path, digest: str, content: bytes) -> Path:
    """Return a cached file's path, whose name holds the hashes of the weights and of itself."""
    own = hashlib.sha256(content).hexdigest()
    return folder / f"{digest}-{EXPORT_VERSION}-{own}{EXPORT_SUFFIX}"


def _read_cache(folder: Path, digest: str) -> ExportedDetector | None:
    for path in sorted(folder.glob(f"{digest}-{EXPORT_VERSION}-*{EXPORT_SUFFIX}")):
        try:
            content = path.read_bytes()
            if path != _cached_file(folder, digest, content):
                raise WeightsError(f"{path}: its content is not what was written")
            return parse(content, name=str(path))
        except (OSError, WeightsError) as error:
            log.warning("%s; it is made again", error)
            path.unlink(missing_ok=True)
    return None
