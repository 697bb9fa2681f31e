"""The detector that comes with the package, on a scene that it was not trained on."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest

from tao_anomaly.config import DetectorConfig
from tao_anomaly.datasets.plaza.renderer import Renderer
from tao_anomaly.datasets.plaza.routes import KINDS
from tao_anomaly.datasets.plaza.scene import Scene
from tao_anomaly.detection.backends import load_backend
from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.exported import BackendError, parse
from tao_anomaly.weights import find_weights

# A new file gives new features: every model made with the old one is void.
SHA256 = "0cd7fa55a1e1f8fbf0bd898acfb7b8126780d044c50d34b636eb8c91e260bd1e"
UNSEEN_PLACE = 99
SIZE = {"width": 640, "height": 360}


@pytest.fixture(scope="module")
def file() -> Path:
    return find_weights("plaza", sha256=SHA256)


@pytest.fixture(scope="module")
def plaza_detector(file: Path) -> Detector:
    return Detector.from_config(DetectorConfig(weights="plaza", device="cpu", threads=2))


def test_finds_what_a_square_shows_that_it_was_not_trained_on(plaza_detector: Detector) -> None:
    scene = Scene.build(seed=17, seconds=36, density=10, kinds=KINDS, place=UNSEEN_PLACE)
    found = found_shares(plaza_detector, scene)
    assert found["person"] > 0.8
    assert found["bicycle"] > 0.7


def found_shares(detector: Detector, scene: Scene) -> dict[str, float]:
    """Return the share of objects of each category that a detection of it finds, IoU 0.5 or more.

    Of objects of which at least 60 pixels are seen, with the confidence that starts a track.
    """
    renderer = Renderer(scene, **SIZE)
    category = {actor.track: actor.category for actor in scene.actors}
    found = defaultdict(list)
    for time in np.arange(1.0, scene.seconds, 2.5):
        rendered = renderer.render(float(time))
        detections = detector.detect(rendered.image)[0]
        for track, box in rendered.boxes().items():
            if (rendered.ids == track).sum() < 60:
                continue
            truth = np.array([box], np.float32) + np.array([0, 0, 1, 1], np.float32)
            near = (iou(truth, detections.boxes)[0] >= 0.5) & (detections.scores >= 0.2)
            names = {detector.backend.class_names[i] for i in detections.class_ids[near].tolist()}
            found[category[track]].append(category[track] in names)
    return {name: float(np.mean(hits)) for name, hits in found.items()}


@pytest.mark.parametrize("place", [0, UNSEEN_PLACE])
def test_an_empty_square_holds_nothing(plaza_detector: Detector, place: int) -> None:
    empty = Renderer(Scene.build(seed=3, seconds=2, density=0, place=place), **SIZE)
    scores = plaza_detector.detect(empty.render(1.0).image)[0].scores
    assert scores.max(initial=0) < 0.25


def test_the_file_is_small_half_precise_and_states_its_licence(file: Path) -> None:
    assert file.stat().st_size < 7e6
    graph = onnx.load(file)
    kinds = {tensor.data_type for tensor in graph.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    assert properties["license"].startswith("AGPL-3.0")
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in file.with_name("LICENSE").read_text("utf-8")
    exported = parse(file.read_bytes(), name="plaza")
    assert list(exported.class_names.values()) == ["person", "bicycle", "cart", "suitcase", "ball"]
    assert (exported.levels, exported.strides) == (("P3", "P4", "P5"), (8, 16, 32))
    assert exported.channels == (32, 64, 128)


def test_torch_is_no_backend_of_it(file: Path) -> None:
    with pytest.raises(BackendError, match=r"plaza\.onnx: backend torch needs a \.pt checkpoint"):
        load_backend(DetectorConfig(weights="plaza", backend="torch", device="cpu"))


def test_engines_agree_and_need_no_ultralytics() -> None:
    """Auto takes the fastest engine; both compute what torch did: their self-test says so."""
    code = """
import sys
sys.modules["ultralytics"] = None
from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.backends import load_backend
for backend in ("auto", "openvino", "onnxruntime"):
    config = DetectorConfig(weights="plaza", backend=backend, device="cpu", threads=2)
    print(load_backend(config).name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    auto, *others = done.stdout.split()
    assert auto.startswith("openvino")
    assert others == ["openvino", "onnxruntime"]
