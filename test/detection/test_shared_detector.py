"""Streams that share the real detector get what they would get alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.detection.detector import Detector, ForwardOutput, Found
from tao_anomaly.detection.shared_detector import SharedDetector
from tao_anomaly.structures import FloatArray, ImageArray


class Gate:
    """A backend that holds the first forward pass until all streams have asked."""

    def __init__(self, detector: Detector) -> None:
        self._backend = detector.backend
        self.open = threading.Event()
        self.shapes: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def forward(self, blob: FloatArray) -> ForwardOutput:
        self.shapes.append(blob.shape)
        assert self.open.wait(60)
        return self._backend.forward(blob)


def ask_together(shared: SharedDetector, gate: Gate, images: Sequence[ImageArray]) -> list[object]:
    """Ask in the order of the images, each in a thread, while the first is in work."""
    results: list[object] = [None] * len(images)

    def ask(index: int) -> None:
        try:
            results[index] = shared.detect(images[index])
        except RuntimeError as error:
            results[index] = error

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(images))]
    for index, thread in enumerate(threads):
        thread.start()
        while len(gate.shapes) + len(shared._waiting) < index + 1:
            assert thread.is_alive()
    gate.open.set()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def images(ped2: Path) -> list[ImageArray]:
    clips = ("Test001/110", "Test004/060", "Test002/100", "Test003/050")
    return [np.asarray(cv2.imread(str(ped2 / "Test" / f"{name}.jpg"))) for name in clips]


@pytest.mark.parametrize(("max_batch", "sizes"), [(8, [1, 3]), (2, [1, 2, 1]), (1, [1, 1, 1, 1])])
def test_what_waits_goes_in_one_batch_and_each_gets_its_own(
    detector: Detector, images: list[ImageArray], max_batch: int, sizes: list[int]
) -> None:
    gate = Gate(detector)
    shared = SharedDetector(Detector(backend=gate, config=detector.config), max_batch=max_batch)
    results = ask_together(shared, gate, images)
    assert [shape[0] for shape in gate.shapes] == sizes
    assert sum(size * count for size, count in shared.batches.items()) == 4
    for image, result in zip(images, results, strict=True):
        assert_same(result, detector.detect(image))


def test_images_of_another_size_wait_for_a_batch_of_their_own(
    detector: Detector, images: list[ImageArray]
) -> None:
    gate = Gate(detector)
    shared = SharedDetector(Detector(backend=gate, config=detector.config))
    tall = cv2.rotate(images[1], cv2.ROTATE_90_CLOCKWISE)
    results = ask_together(shared, gate, [images[0], images[1], tall, images[2]])
    assert [shape[0] for shape in gate.shapes] == [1, 2, 1]
    assert_same(results[2], detector.detect(tall))
    assert_same(results[3], detector.detect(images[2]))


def test_an_error_reaches_all_of_its_batch_and_no_other(
    detector: Detector, images: list[ImageArray]
) -> None:
    class Failing(Gate):
        def forward(self, blob: FloatArray) -> ForwardOutput:
            output = super().forward(blob)
            if len(blob) > 1:
                raise ValueError("out of memory")
            return output

    gate = Failing(detector)
    shared = SharedDetector(Detector(backend=gate, config=detector.config))
    first, *others = ask_together(shared, gate, images[:3])
    assert_same(first, detector.detect(images[0]))
    assert [str(error) for error in others] == ["the shared detector failed: out of memory"] * 2
    assert_same(shared.detect(images[0]), detector.detect(images[0]))


def assert_same(result: object, expected: Found) -> None:
    assert isinstance(result, tuple)
    found, pyramid = result
    assert len(found) == len(expected[0]) > 0
    np.testing.assert_allclose(found.boxes, expected[0].boxes, atol=0.05)
    np.testing.assert_array_equal(found.class_ids, expected[0].class_ids)
    for level, wanted in zip(pyramid.maps, expected[1].maps, strict=True):
        np.testing.assert_allclose(level.cpu(), wanted.cpu(), atol=1e-3)
    assert pyramid.letterbox == expected[1].letterbox
