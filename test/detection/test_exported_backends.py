"""The exported detector and the engines that run it, against torch."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from tao_anomaly import export_detector
from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.detection import backends, export
from tao_anomaly.detection.backends import CPU_ORDER, load_backend
from tao_anomaly.detection.detector import Backend, Detector
from tao_anomaly.detection.export import load_export
from tao_anomaly.detection.exported import BackendError, parse
from tao_anomaly.detection.exported_backends import OnnxRuntimeBackend, OpenVinoBackend
from tao_anomaly.detection.self_test import compare, drawn_input
from tao_anomaly.features.extractor import FeatureExtractor
from tao_anomaly.structures import ImageArray
from tao_anomaly.weights import WeightsError

ENGINES = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def image(ped2: Path) -> ImageArray:
    return np.asarray(cv2.imread(str(ped2 / "Test/Test004/060.jpg")), np.uint8)


@pytest.fixture(scope="module")
def load(weights: Path) -> Callable[..., Backend]:
    """Load a backend by its name, once."""
    loaded: dict[str, Backend] = {}

    def load_once(name: str) -> Backend:
        if name not in loaded:
            config = DetectorConfig(weights=str(weights), backend=name, threads=2)
            loaded[name] = load_backend(config)
        return loaded[name]

    return load_once


@pytest.fixture(scope="module")
def content(weights: Path) -> bytes:
    return load_export(weights).content


def cosines(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> list[float]:
    pairs = zip(a, b, strict=True)
    return [float(torch.cosine_similarity(x.flatten(), y.flatten(), dim=0)) for x, y in pairs]


@pytest.mark.parametrize("size", [(448, 640), (64, 96), (320, 320)])
@pytest.mark.parametrize("name", ENGINES)
def test_any_image_size_and_batch_gives_what_torch_gives(
    load: Callable[[str], Backend], image: ImageArray, name: str, size: tuple[int, int]
) -> None:
    blob = cv2.dnn.blobFromImages([image, image[:, ::-1]], 1 / 255, size[::-1], swapRB=True)
    expected, got = load("torch").forward(blob), load(name).forward(blob)
    assert got.predictions.shape == expected.predictions.shape
    np.testing.assert_allclose(got.predictions[:, 4:], expected.predictions[:, 4:], atol=1e-4)
    np.testing.assert_allclose(got.predictions[:, :4], expected.predictions[:, :4], atol=0.05)
    for level, wanted in zip(got.maps, expected.maps, strict=True):
        assert level.dtype == torch.float32
        torch.testing.assert_close(level, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_features_of_all_engines_are_of_one_kind(
    load: Callable[[str], Backend], image: ImageArray, name: str
) -> None:
    config = PipelineConfig()
    ours, theirs = (
        FeatureExtractor(
            detector=Detector(backend=load(n), config=config.detector), config=config.features
        )
        for n in (name, "torch")
    )
    assert ours.feature_id == theirs.feature_id
    assert ours.layout == theirs.layout
    assert load(name).class_names == load("torch").class_names
    assert load(name).strides == (8, 16, 32)
    boxes = np.array([[100, 100, 130, 170], [0, 0, 20, 20]], np.float32)
    values = [
        e.appearance(boxes, Detector(backend=load(n), config=config.detector).detect(image)[1])
        for e, n in ((ours, name), (theirs, "torch"))
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=2e-3, atol=1e-3)


def test_bfloat16_keeps_the_features(load: Callable[[str], Backend], image: ImageArray) -> None:
    try:
        backend = load("openvino_bf16")
    except BackendError as error:
        pytest.skip(str(error))
    detector = Detector(backend=backend, config=DetectorConfig())
    blob = detector.letterbox(image).blob(image)
    got, expected = backend.forward(blob), load("torch").forward(blob)
    similar = cosines(got.maps, expected.maps)
    assert min(similar) > 0.999
    assert max(similar) < 1 - 1e-7  # it is bfloat16 indeed


@pytest.mark.parametrize("name", ENGINES)
def test_the_same_image_gives_the_same_bytes_to_every_thread(
    load: Callable[[str], Backend], image: ImageArray, name: str
) -> None:
    backend = load(name)
    blobs = [
        cv2.dnn.blobFromImage(picture, 1 / 255, (160, 128), swapRB=True)
        for picture in (image, image[:, ::-1], image[::-1])
    ]
    alone = [backend.forward(blob) for blob in blobs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(backend.forward, blobs * 3))
    for got, wanted in zip(together, alone * 3, strict=True):
        assert np.array_equal(got.predictions, wanted.predictions)
        assert all(map(torch.equal, got.maps, wanted.maps))


@pytest.mark.parametrize("engine", [OpenVinoBackend, OnnxRuntimeBackend])
def test_the_count_of_threads_changes_nothing_that_matters(
    weights: Path, engine: type[OpenVinoBackend | OnnxRuntimeBackend]
) -> None:
    blob, exported = drawn_input(), load_export(weights)
    one, two = (engine(exported, threads=count).forward(blob) for count in (1, 2))
    np.testing.assert_allclose(one.predictions, two.predictions, rtol=1e-4, atol=1e-3)
    for a, b in zip(one.maps, two.maps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_auto_takes_the_first_that_passes_and_says_why(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = DetectorConfig(weights=str(weights), device="cpu")
    monkeypatch.setattr(backends, "gains_by_bfloat16", lambda cpu: False)
    with caplog.at_level(logging.INFO):
        assert load_backend(config).name == "openvino"
    assert "backend openvino; not openvino_bf16: no faster than float32" in caplog.text
    monkeypatch.setitem(sys.modules, "openvino", None)  # its import fails
    assert load_backend(config).name == "onnxruntime"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.INFO):
        assert load_backend(config).name == "torch"
    assert "openvino: openvino is not installed; install it; not onnxruntime: " in caplog.text


def test_an_engine_that_differs_from_torch_is_not_used(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OpenVinoBackend._run
    broken = lambda self, blob: [array[..., ::-1].copy() for array in run(self, blob)]  # noqa: E731
    monkeypatch.setattr(OpenVinoBackend, "_run", broken)
    monkeypatch.setattr(backends, "gains_by_bfloat16", lambda cpu: True)
    config = DetectorConfig(weights=str(weights), device="cpu")
    assert load_backend(config).name == "onnxruntime"
    with pytest.raises(BackendError, match=r"openvino differs from torch \(cosine 0\.\d+, box IoU"):
        load_backend(replace(config, backend="openvino"))


def test_every_backend_that_can_be_set_is_known() -> None:
    setting = next(field for field in fields(DetectorConfig) if field.name == "backend")
    known = {"auto", "torch", *backends._ENGINES}
    assert set(setting.metadata["choices"]) == known
    assert set(CPU_ORDER) == known - {"auto", "tensorrt"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "tensorrt"}, "tensorrt does not run on device cpu; set device or backend"),
        ({"backend": "openvino", "device": "toaster"}, "device: got 'toaster'"),
        ({"weights": "{folder}/bare.onnx"}, "bare.onnx: not an exported detector (no 'tao_anom"),
        ({"weights": "{folder}/text.onnx"}, "text.onnx: not an exported detector"),
        ({"weights": "{folder}/text.onnx", "backend": "torch"}, "torch needs a .pt checkpoint"),
    ],
)
def test_what_cannot_be_run_is_told(
    tmp_path: Path, weights: Path, settings: dict[str, str], message: str
) -> None:
    (tmp_path / "text.onnx").write_text("nothing of the kind")
    onnx.save(onnx.helper.make_model(onnx.GraphProto(name="bare")), tmp_path / "bare.onnx")
    given = {name: value.format(folder=tmp_path) for name, value in settings.items()}
    config = DetectorConfig(**{"weights": str(weights), "device": "cpu", **given})
    with pytest.raises(ValueError, match=re.escape(message)):
        load_backend(config)


def test_weights_in_another_file_are_refused(content: bytes) -> None:
    graph = onnx.load_model_from_string(content)
    graph.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(WeightsError, match=r"far\.onnx: .*its weights lie in another file"):
        parse(graph.SerializeToString(), name="far.onnx")


def test_the_export_is_made_once_and_again_when_it_is_broken(
    tmp_path: Path, weights: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(path: Path) -> bytes:
        made.append(path)
        return content

    monkeypatch.setattr(export, "export_checkpoint", make)
    for _ in range(2):
        assert load_export(weights, cache=tmp_path).content == content
    assert made == [weights]
    (cached,) = tmp_path.iterdir()  # and no file half written
    cached.write_bytes(content[:-1])
    assert load_export(weights, cache=tmp_path).content == content
    assert cached.read_bytes() == content
    assert len(made) == 2
    (blocked := tmp_path / "file").touch()
    assert load_export(weights, cache=blocked / "folder").content == content  # kept nowhere


def test_the_reference_is_what_torch_computes(
    load: Callable[[str], Backend], content: bytes
) -> None:
    reference, output = parse(content, name="").reference, load("torch").forward(drawn_input())
    assert list(reference) == ["predictions", "P3", "P4", "P5"]
    agreement = compare(
        output.predictions,
        tuple(level.numpy() for level in output.maps),
        expected_predictions=reference["predictions"],
        expected_maps=tuple(reference[level] for level in ("P3", "P4", "P5")),
    )
    assert agreement.passed
    assert agreement.score_difference < 1e-4


def test_an_exported_file_runs_without_ultralytics(
    tmp_path: Path,
    weights: Path,
    ped2: Path,
    load: Callable[[str], Backend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exported by the command, run in a process in which ultralytics cannot be imported."""
    file = tmp_path / "detector.onnx"
    monkeypatch.setattr("sys.argv", ["export", f"weights={weights}", f"output={file}"])
    assert export_detector.main() == 0
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = f"""
import sys
sys.modules["ultralytics"] = None
import cv2
from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame
perception = Perception.from_config(PipelineConfig(DetectorConfig(weights={str(file)!r})))
image = cv2.imread({str(ped2 / "Test/Test004/060.jpg")!r})
print(perception.feature_id, len(perception.process(Frame(image, 0, 0)).tracks))
print(perception.class_names[0])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    config = PipelineConfig()
    detector = Detector(backend=load("torch"), config=config.detector)
    feature_id = FeatureExtractor(detector=detector, config=config.features).feature_id
    (got, tracks), name = (line.split() for line in done.stdout.splitlines())
    assert (got, name) == (feature_id, ["person"])
    assert int(tracks) >= 3
    assert not (tmp_path / "cache").exists()  # nor did any library leave something there
