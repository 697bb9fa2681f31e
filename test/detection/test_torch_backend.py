from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.detection.detector import Detector, ImageOutput
from tao_anomaly.detection.ultralytics_adapter import TorchBackend
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame, ImageArray


@pytest.fixture(scope="module")
def detector(weights: Path) -> Detector:
    """The network in torch, whose layers can be watched."""
    return Detector.from_config(DetectorConfig(weights=str(weights), backend="torch", threads=2))


@pytest.fixture(scope="module")
def image(ped2: Path) -> ImageArray:
    return np.asarray(cv2.imread(str(ped2 / "Test/Test004/060.jpg")), np.uint8)


def test_the_network_runs_once_a_frame(detector: Detector, image: ImageArray) -> None:
    """Tracking and features take their maps from the pass that found the boxes."""
    network = detector.backend.model
    calls = {"network": 0, "first convolution": 0, "detection layer": 0}
    watched = zip(calls, (network, network.model[0].conv, network.model[-1]), strict=True)

    def count(name: str):
        def hook(*_: object) -> None:
            calls[name] += 1

        return hook

    hooks = [module.register_forward_hook(count(name)) for name, module in watched]
    perception = Perception.from_config(PipelineConfig(), detector=detector)
    try:
        for index in range(3):
            features = perception.process(Frame(image, index * 100_000_000, index))
            assert set(calls.values()) == {index + 1}
    finally:
        for hook in hooks:
            hook.remove()
    assert features is not None
    assert len(features.tracks) >= 3


def test_pyramid_has_three_levels_of_the_input(detector: Detector, image: ImageArray) -> None:
    _, pyramid = detector.detect(image)
    assert pyramid.strides == (8, 16, 32)
    assert [tuple(level.shape) for level in pyramid.maps] == [
        (64, 56, 80),  # 448x640 / 8
        (128, 28, 40),
        (256, 14, 20),
    ]
    assert detector.backend.channels == (64, 128, 256)
    assert all(torch.isfinite(level).all() for level in pyramid.maps)


def test_maps_are_the_inputs_of_detect_whatever_it_does_to_them(
    detector: Detector, image: ImageArray
) -> None:
    given: list[list[torch.Tensor]] = []
    copies: list[list[torch.Tensor]] = []

    def copy(_: torch.nn.Module, inputs: tuple[list[torch.Tensor]]) -> None:
        given.append(inputs[0])
        copies.append([level.clone() for level in inputs[0]])

    hook = detector.backend.model.model[-1].register_forward_pre_hook(copy)
    try:
        output = detector.backend.forward(detector.letterbox(image).blob(image))
    finally:
        hook.remove()
    assert len(given) == 1
    given[0].clear()  # as some versions of Detect do, which put their own results there
    for kept, wanted in zip(output.maps, copies[0], strict=True):
        assert torch.equal(kept, wanted)


def test_persons_of_ped2_are_found_where_they_are(detector: Detector, image: ImageArray) -> None:
    found, _ = detector.detect(image)
    assert detector.backend.class_names[0] == "person"
    assert len(detector.backend.class_names) == 80
    persons = found.boxes[(found.class_ids == 0) & (found.scores > 0.5)]
    assert len(persons) >= 3
    assert np.all(np.diff(found.scores) <= 0)
    assert np.all(found.boxes >= 0)
    assert np.all(found.boxes <= [360, 240, 360, 240])
    heights = persons[:, 3] - persons[:, 1]
    assert 20 < np.median(heights) < 60  # people of Ped2 are about 35 px tall


@pytest.mark.parametrize(("size", "value"), [((240, 360), 128), ((31, 777), 0), ((33, 31), 255)])
def test_a_blank_image_holds_nothing(detector: Detector, size: tuple[int, int], value: int) -> None:
    found, pyramid = detector.detect(np.full((*size, 3), value, np.uint8))
    assert len(found) == 0
    assert len(pyramid.maps) == 3


def test_the_same_image_gives_the_same_output(detector: Detector, image: ImageArray) -> None:
    blob = detector.letterbox(image).blob(image)
    first, second = detector.backend.forward(blob), detector.backend.forward(blob)
    assert np.array_equal(first.predictions, second.predictions)
    assert all(map(torch.equal, first.maps, second.maps))


def test_a_batch_gives_what_its_images_give(detector: Detector, image: ImageArray) -> None:
    other = np.ascontiguousarray(image[:, ::-1])
    letterbox = detector.letterbox(image)
    batch = np.concatenate([letterbox.blob(image), letterbox.blob(other)])
    together = detector.backend.forward(batch)
    alone = detector.backend.forward(letterbox.blob(other))
    np.testing.assert_allclose(together.predictions[1:], alone.predictions, atol=1e-2)
    _, pyramid = detector.found(ImageOutput(together, letterbox, 1))
    for level, wanted in zip(pyramid.maps, alone.maps, strict=True):
        torch.testing.assert_close(level, wanted[0], rtol=1e-3, atol=1e-3)


def test_threads_share_a_backend(detector: Detector, image: ImageArray) -> None:
    """Each gets the maps of its own pass, though one network holds state while it runs."""
    blobs = [detector.letterbox(image).blob(part) for part in (image, image[:, ::-1])]
    blobs.append(np.ascontiguousarray(blobs[0][..., :320]))
    alone = [detector.backend.forward(blob) for blob in blobs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(detector.backend.forward, blobs * 4))
    for got, wanted in zip(together, alone * 4, strict=True):
        assert np.array_equal(got.predictions, wanted.predictions)
        assert all(map(torch.equal, got.maps, wanted.maps))


def test_a_device_that_is_not_there_is_a_clear_error(weights: Path) -> None:
    for device in ("cuda:99", "toaster"):
        with pytest.raises(ValueError, match=rf"device: got '{device}', expected auto, cpu or"):
            TorchBackend.load(weights, config=DetectorConfig(device=device))


def test_works_without_torchvision_and_leaves_settings_alone(weights: Path, ped2: Path) -> None:
    """In a process of its own: this one may have imported torchvision."""
    code = f"""
import os, sys
import cv2, numpy as np, torch
torch.set_num_threads(2)
cv2.setNumThreads(2)
np.set_printoptions(precision=3)
from tao_anomaly.config import PipelineConfig, DetectorConfig
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame
assert "ultralytics" not in sys.modules, "imported before it is needed"
perception = Perception.from_config(
    PipelineConfig(DetectorConfig(weights={str(weights)!r}, backend="torch"))
)
image = cv2.imread({str(ped2 / "Test/Test004/060.jpg")!r})
assert len(perception.process(Frame(image, 0, 0)).tracks) >= 3
assert "torchvision" not in sys.modules
assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
assert np.get_printoptions()["precision"] == 3
assert np.get_printoptions()["linewidth"] == 75
assert os.path.isdir(os.environ["YOLO_CONFIG_DIR"])
print(os.environ["YOLO_CONFIG_DIR"])
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("YOLO_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()  # its settings folder is cleared away
