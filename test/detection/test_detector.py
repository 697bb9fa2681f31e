from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tao_anomaly.detection.detector import Detector, ForwardOutput
from tao_anomaly.structures import FloatArray, ImageArray


@pytest.fixture(scope="module")
def images(ped2: Path) -> list[ImageArray]:
    """Two images of one size with another one between them."""
    first, second = (cv2.imread(str(ped2 / f"Test/Test004/{i:03d}.jpg")) for i in (60, 90))
    return [first, np.ascontiguousarray(first[:, 100:300]), second]


def test_a_batch_is_one_pass_a_size_and_keeps_the_order(
    detector: Detector, images: list[ImageArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, passes = detector.backend.forward, []

    def count(blob: FloatArray) -> ForwardOutput:
        passes.append(blob.shape)
        return forward(blob)

    alone = [detector.detect(image) for image in images]
    monkeypatch.setattr(detector.backend, "forward", count)
    together = detector.detect_all(images)
    assert passes == [(2, 3, 448, 640), (1, 3, 640, 544)]
    assert len({len(found) for found, _ in alone}) > 1
    for (found, pyramid), (wanted, wanted_pyramid) in zip(together, alone, strict=True):
        assert found.class_ids.tolist() == wanted.class_ids.tolist()
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.01)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
        assert pyramid.letterbox == wanted_pyramid.letterbox
        for level, expected in zip(pyramid.maps, wanted_pyramid.maps, strict=True):
            torch.testing.assert_close(level, expected, rtol=1e-3, atol=1e-3)


def test_no_images_are_no_pass(detector: Detector) -> None:
    assert detector.detect_all([]) == []
