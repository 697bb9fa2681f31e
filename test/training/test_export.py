from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch

from tao_anomaly.model import engines
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.model.config import TemporalMaeConfig
from tao_anomaly.model.engines import ONNX_FILE, TorchEngine, make_engine
from tao_anomaly.model.heads import FeatureShape
from tao_anomaly.model.temporal_mae import TemporalMAE
from tao_anomaly.model.window_model import build_network_model
from tao_anomaly.scoring.fitting import windows_of
from tao_anomaly.scoring.split import Split
from training.export import (
    TOLERANCE,
    ExportError,
    compare_engines,
    example,
    export_artifact,
    write_onnx,
)
from training.fit import FitResult, Footage, save
from training.settings import TrainRun


@pytest.fixture(scope="module")
def exported(
    trained: FitResult,
    footage: Footage,
    split: Split,
    tiny_run: TrainRun,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "artifact"
    model_id = save(trained, footage, split, tiny_run, folder)
    differences = export_artifact(folder)
    assert differences.keys() == {"onnxruntime", "openvino"}  # bfloat16 differs by more
    assert load_artifact(folder).model_id == model_id, "an export does not change the model"
    return folder


def _computes_bfloat16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_give_the_terms_of_torch_for_any_number_of_windows(
    exported: Path, footage: Footage, split: Split, backend: str
) -> None:
    artifact = load_artifact(exported)
    reference, other = (
        build_network_model(artifact, backend="torch"),
        build_network_model(artifact, backend=backend),
    )
    assert other.examiner.engine.name == backend
    for cut in list(windows_of(footage.clips[split.check[0]], TrainRun().windows))[1:20]:
        expected = reference.terms(cut)
        np.testing.assert_allclose(other.terms(cut), expected, atol=TOLERANCE, rtol=1e-4)


def test_bfloat16_changes_terms_by_a_fraction_of_their_deviation(
    exported: Path, footage: Footage, split: Split
) -> None:
    if not _computes_bfloat16():
        pytest.skip("this CPU computes no bfloat16")
    artifact = load_artifact(exported)
    exact, rounded = (
        build_network_model(artifact, backend=name) for name in ("openvino", "openvino_bf16")
    )
    cuts = list(windows_of(footage.clips[split.check[0]], TrainRun().windows))[1:20]
    expected, got = (np.concatenate([m.terms(cut) for cut in cuts]) for m in (exact, rounded))
    scored = ~np.isnan(expected)
    assert np.array_equal(scored, ~np.isnan(got))
    difference = np.sqrt(np.nanmean((got - expected) ** 2, axis=0))
    assert np.all(difference > 0)
    assert np.all(difference < 0.05 * np.nanstd(expected, axis=0))


def test_auto_takes_the_export_and_torch_without_one(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = load_artifact(exported)
    for gains, name in ((False, "openvino"), (True, "openvino_bf16")):
        monkeypatch.setattr(engines, "gains_by_bfloat16", lambda cpu, gains=gains: gains)
        if name == "openvino" or _computes_bfloat16():
            assert build_network_model(artifact).examiner.engine.name == name
    assert build_network_model(replace(artifact, exports={})).examiner.engine.name == "torch"


def test_a_backend_without_its_file_or_unknown_is_refused(exported: Path) -> None:
    artifact = load_artifact(exported)
    with pytest.raises(ValueError, match=r"needs model\.onnx in the artifact: make it with"):
        build_network_model(replace(artifact, exports={}), backend="onnxruntime")
    with pytest.raises(ValueError, match="backend: got 'tensorrt', expected one of auto, torch"):
        build_network_model(artifact, backend="tensorrt")


def test_an_edited_export_is_refused(exported: Path) -> None:
    path = exported / ONNX_FILE
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + b"!")
        with pytest.raises(ArtifactError, match=r"model\.onnx: its SHA-256"):
            load_artifact(exported)
    finally:
        path.write_bytes(content)


def test_a_graph_of_other_weights_is_refused(exported: Path) -> None:
    artifact = load_artifact(exported)
    config = build_network_model(artifact, backend="torch").examiner.config
    shape = FeatureShape(3, 8, 5)
    inputs = [example(config, shape, steps=16, cells=0, count=5, seed=0)]
    other = TemporalMAE(config.model, shape)
    with pytest.raises(ExportError, match="onnxruntime differs from torch by"):
        compare_engines(TorchEngine(other), exported / ONNX_FILE, inputs)


def test_learned_pooling_and_all_heads_export(tmp_path: Path, tiny_run: TrainRun) -> None:
    outputs = ("gaussian", "contrastive", "forecast")
    config = TemporalMaeConfig(model=replace(tiny_run.model, pooling="hybrid", outputs=outputs))
    shape = FeatureShape(3, 8, 5)
    torch.manual_seed(0)
    model = TemporalMAE(config.model, shape).eval()
    examples = [
        example(config, shape, steps=16, cells=9, count=count, seed=count) for count in (5, 1, 12)
    ]
    path = tmp_path / ONNX_FILE
    write_onnx(model, *examples[0], path)
    differences = compare_engines(TorchEngine(model), path, examples)
    assert max(differences.values()) < TOLERANCE
    assert make_engine(model, path, "auto").run(*examples[1])["forecast"].shape == (1, 4, 11)


def test_only_a_temporal_mae_is_exported(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not found; expected the folder of a fitted model"):
        export_artifact(tmp_path)
