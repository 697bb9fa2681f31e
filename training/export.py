"""Put an ONNX file for ONNX Runtime and OpenVINO into the artifact of a temporal MAE.

``python -m training.export model=FOLDER``; the scorer then uses the fastest engine that is there.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tao_anomaly.command_line import run
from tao_anomaly.config import setting
from tao_anomaly.model.artifact import ArtifactError, add_export, load_artifact
from tao_anomaly.model.config import TemporalMaeConfig
from tao_anomaly.model.engines import (
    ONNX_FILE,
    OUTPUT_PREFIX,
    Engine,
    ExportedGraph,
    OnnxRuntimeEngine,
    OpenVinoEngine,
    TorchEngine,
    flatten,
)
from tao_anomaly.model.heads import FeatureShape
from tao_anomaly.model.masking import Masks, partition_masks
from tao_anomaly.model.temporal_mae import TemporalMAE, WindowTensors
from tao_anomaly.model.window_model import KIND, build_network_model, feature_shape

TOLERANCE = 1e-4  # largest difference between an engine and torch
_ENGINES: tuple[Callable[[Path], Engine], ...] = (OnnxRuntimeEngine, OpenVinoEngine)


class ExportError(ValueError):
    """An exported graph that does not compute what the model does."""


@dataclass(frozen=True)
class ExportConfig:
    """Settings of the command."""

    model: str = setting("", "artifact of a temporal MAE")


def export_artifact(folder: Path) -> dict[str, float]:
    """Export the model of an artifact, compare all engines with torch, and add the file.

    Returns the largest difference of each engine. Raises ExportError where one differs by more than
    TOLERANCE; the artifact stays as it was then.
    """
    artifact = load_artifact(folder)
    if artifact.kind != KIND:
        raise ArtifactError(f"{folder}: got a model of kind {artifact.kind!r}, expected {KIND!r}")
    scorer = build_network_model(artifact, backend="torch")
    examiner = scorer.examiner
    engine = examiner.engine
    assert isinstance(engine, TorchEngine)
    steps = int(artifact.config["fitted_with"]["windows"]["length"])
    cells = artifact.layout.grid**2 if examiner.preparation.use_grid else 0
    shape = feature_shape(examiner.config.model, artifact.layout)
    examples = [
        example(examiner.config, shape, steps=steps, cells=cells, count=n, seed=n) for n in (3, 7)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / ONNX_FILE
        write_onnx(engine.model, *examples[0], path)
        differences = compare_engines(engine, path, examples)
        add_export(folder, ONNX_FILE, path.read_bytes())
    return differences


def write_onnx(model: TemporalMAE, windows: WindowTensors, masks: Masks, path: Path) -> None:
    """Write the graph of a model; any number of windows of the example's length fits it."""
    graph = ExportedGraph(model).eval()
    inputs = flatten(windows, masks)
    graph(*inputs.values())  # tells the names of the outputs
    batch = torch.export.Dim("batch", min=1)
    for chatty in ("onnx_ir", "onnxscript"):  # they name every constant they merge
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one axis name for all inputs is meant
        torch.onnx.export(
            graph,
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=[OUTPUT_PREFIX + name for name in graph.output_names],
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def compare_engines(
    reference: Engine, path: Path, examples: list[tuple[WindowTensors, Masks]]
) -> dict[str, float]:
    """Return the largest difference of each engine from torch; ExportError above TOLERANCE."""
    differences: dict[str, float] = {}
    for make in _ENGINES:
        engine = make(path)
        for windows, masks in examples:
            expected, got = reference.run(windows, masks), engine.run(windows, masks)
            worst = max(_difference(got[name], expected[name]) for name in expected)
            differences[engine.name] = max(worst, differences.get(engine.name, 0.0))
        if not differences[engine.name] <= TOLERANCE:
            raise ExportError(
                f"{engine.name} differs from torch by {differences[engine.name]:.3g}, expected at"
                f" most {TOLERANCE}; report it with the versions of torch and {engine.name}"
            )
    return differences


def example(
    config: TemporalMaeConfig, shape: FeatureShape, *, steps: int, cells: int, count: int, seed: int
) -> tuple[WindowTensors, Masks]:
    """Return `count` random windows, one of them short, each with its first scoring mask."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    valid = torch.ones(count, steps, dtype=torch.bool)
    valid[0, : steps // 2] = False
    windows = WindowTensors(
        appearance=normal(count, steps, shape.appearance),
        motion=normal(count, steps, shape.motion),
        place=normal(count, shape.place),
        times=(torch.arange(steps) - steps + 1.0).expand(count, steps) * config.model.time_unit,
        valid=valid,
        grid=normal(count, steps, cells, shape.appearance) if cells else None,
    )
    masks = partition_masks(valid, ratio=config.masks.ratio, time_passes=2, cue_passes=True)
    return windows, masks.select(torch.arange(count))


def _difference(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max())


def _body(config: ExportConfig) -> None:
    if not config.model:
        raise ArtifactError("give model=<folder of a temporal MAE>")
    for name, difference in export_artifact(Path(config.model).expanduser()).items():
        print(f"{name}: differs from torch by at most {difference:.2g}")


def main() -> int:
    """Run the command line."""
    return run(ExportConfig, _body, description=__doc__, errors=(ArtifactError, ExportError))


if __name__ == "__main__":
    sys.exit(main())
