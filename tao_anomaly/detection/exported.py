"""An exported detector: one ONNX file that says all that running it takes."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError

from tao_anomaly.detection.detector import ForwardOutput
from tao_anomaly.structures import FloatArray
from tao_anomaly.weights import WeightsError

if TYPE_CHECKING:
    import onnx

EXPORT_VERSION = 1  # raise it when the graph or the facts stored with it change
INPUT = "images"
PREDICTIONS, PROTOTYPES = "predictions", "prototypes"
FINEST_LEVEL = 3  # P3, at a stride of 8
_FACTS = "tao_anomaly"  # keys of the file's metadata
_REFERENCE = "tao_anomaly_reference"
_LICENCE = "AGPL-3.0, https://ultralytics.com/license"  # all checkpoints are made with ultralytics


class BackendError(WeightsError):
    """A backend that cannot run a detector here; the message has the reason and the remedy."""


@dataclass(frozen=True)
class ExportedDetector:
    """A graph from images to predictions and pyramid, with any batch, height and width.

    content: the ONNX file. reference: torch's outputs for the self-test's image, by name. The rest:
    as in Backend.
    """

    content: bytes
    class_names: dict[int, str]
    strides: tuple[int, ...]
    weights_sha256: str
    reference: dict[str, FloatArray]

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the pyramid's levels."""
        return tuple(self.reference[level].shape[1] for level in self.levels)

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the pyramid's outputs, finest first."""
        return tuple(name for name in self.reference if name not in (PREDICTIONS, PROTOTYPES))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of all outputs."""
        return tuple(self.reference)

    def to_output(self, arrays: dict[str, FloatArray]) -> ForwardOutput:
        """Return outputs by name as what backends return."""
        maps = tuple(torch.from_numpy(arrays[level]) for level in self.levels)
        predictions, boxes = arrays[PREDICTIONS], 4 + len(self.class_names)
        if PROTOTYPES not in arrays:
            return ForwardOutput(predictions, maps)
        return ForwardOutput(
            predictions[:, :boxes], maps, predictions[:, boxes:], arrays[PROTOTYPES]
        )


def describe(
    graph: onnx.ModelProto,
    *,
    class_names: dict[int, str],
    strides: tuple[int, ...],
    weights_sha256: str,
    reference: dict[str, FloatArray],
) -> bytes:
    """Return the content of an ONNX file with the facts of `graph` in its metadata."""
    import onnx

    facts = {
        "version": EXPORT_VERSION,
        "class_names": list(class_names.items()),
        "strides": strides,
        "weights_sha256": weights_sha256,
        "outputs": list(reference),
    }
    packed = base64.b64encode(safetensors.numpy.save(reference)).decode()
    properties = {_FACTS: json.dumps(facts), _REFERENCE: packed, "license": _LICENCE}
    onnx.helper.set_model_props(graph, properties)
    return graph.SerializeToString(deterministic=True)


def parse(content: bytes, *, name: str) -> ExportedDetector:
    """Return what an exported file holds; name: of the file, for WeightsError where it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model_from_string(content)
        properties = {entry.key: entry.value for entry in graph.metadata_props}
        facts = json.loads(properties[_FACTS])
        if facts["version"] != EXPORT_VERSION:
            raise ValueError(f"export version {facts['version']}, expected {EXPORT_VERSION}")
        if any(tensor.data_location for tensor in graph.graph.initializer):
            raise ValueError("its weights lie in another file")
        reference = safetensors.numpy.load(base64.b64decode(properties[_REFERENCE]))
        return ExportedDetector(
            content=content,
            class_names={int(index): str(label) for index, label in facts["class_names"]},
            strides=tuple(int(stride) for stride in facts["strides"]),
            weights_sha256=str(facts["weights_sha256"]),
            reference={output: reference[output] for output in facts["outputs"]},
        )
    except (DecodeError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise WeightsError(
            f"{name}: not an exported detector ({reason}); make one with"
            " `python -m tao_anomaly.export_detector weights=<.pt file> output=<.onnx file>`"
        ) from error


def as_named(output: ForwardOutput) -> dict[str, FloatArray]:
    """Return the outputs of a backend by the names that an exported graph gives them."""
    parts = [output.predictions]
    if output.mask_coefficients is not None:
        parts.append(output.mask_coefficients)
    named = {PREDICTIONS: np.concatenate(parts, axis=1)}
    levels = enumerate(output.maps, FINEST_LEVEL)
    named.update({f"P{i}": level.cpu().numpy() for i, level in levels})
    if output.prototypes is not None:
        named[PROTOTYPES] = output.prototypes
    return named
