from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import Detector, ForwardOutput
from tao_anomaly.detection.ultralytics_adapter import TorchBackend, import_ultralytics
from tao_anomaly.detection.ultralytics_sam import Sam2
from tao_anomaly.evaluation.pixel_map import (
    BoxFill,
    FadingBox,
    InstanceMasks,
    Patch,
    Sam2Masks,
    score_map,
)
from tao_anomaly.structures import Frame
from tao_anomaly.weights import WeightsError


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def drawn(patches: list[Patch], size: tuple[int, int]) -> np.ndarray:
    return score_map(size, patches, np.ones(len(patches))) == 1


def test_a_box_fills_its_inclusive_pixels() -> None:
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:6] = True
    np.testing.assert_array_equal(
        drawn(BoxFill().outline(boxes((1, 2, 5, 3)), (6, 8)), (6, 8)), expected
    )


@pytest.mark.parametrize(
    ("left", "right", "columns"),
    [
        (1.4, 2.4, [1, 2]),  # edges at 1.4 and 3.4: the centres 1.5 and 2.5 are inside
        (1.6, 2.6, [2, 3]),
        (3.0, 3.0, [3]),
        (-5.0, 0.0, [0]),
        (6.5, 20.0, [7]),
        (9.0, 12.0, []),
    ],
)
def test_a_pixel_belongs_to_a_box_if_its_centre_does(
    left: float, right: float, columns: list[int]
) -> None:
    mask = drawn(BoxFill().outline(boxes((left, 0, right, 0)), (1, 8)), (1, 8))
    assert np.flatnonzero(mask[0]).tolist() == columns


def test_the_highest_score_of_a_pixel_counts_whatever_the_order() -> None:
    rows = boxes((0, 0, 2, 0), (2, 0, 3, 0), (1, 0, 2, 0))
    scores = np.array([1.0, -2.0, 0.5])
    expected = [[1, 1, 1, -2, -np.inf]]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        patches = BoxFill().outline(rows[order], (1, 5))
        assert score_map((1, 5), patches, scores[order]).tolist() == expected


def test_the_rest_of_a_patch_has_a_share_of_the_score() -> None:
    mask = np.array([[True, False, False]])
    first, second = (Patch.of_mask(0, left, mask, rest=0.25) for left in (0, 1))
    assert score_map((1, 5), [first, second], np.array([4.0, 2.0])).tolist() == [
        [4, 2, 1, 0.5, -np.inf]
    ]
    # A score below zero falls as well: never does the rest come before the object.
    assert score_map((1, 3), [first], np.array([-4.0])).tolist() == [[-4, -7, -7]]


def test_a_box_fades_at_its_edge() -> None:
    """Inclusive pixels 2 to 5: the centre is 4, half a side 2, and it ends 3 from the centre."""
    (patch,) = FadingBox().outline(boxes((2, 2, 5, 5)), (8, 9))
    found = score_map((8, 9), [patch], np.array([2.0]))
    apart = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]) / 2
    expected = np.full((8, 9), -np.inf)
    expected[1:7, 1:7] = 2 * 0.5 ** ((apart**2 + apart[:, None] ** 2) ** 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    # A score below zero is lowest at the edge too: -2 less 2 times what is missing of the share.
    below = score_map((8, 9), [patch], np.array([-2.0]))
    np.testing.assert_allclose(below[1:7, 1:7], expected[1:7, 1:7] - 4, atol=1e-6)


def test_fading_boxes_are_as_wide_as_high_as_their_sides_and_end_at_the_image() -> None:
    wide, cut, outside = FadingBox().outline(
        boxes((10, 4, 29, 7), (-10, 0, 9, 3), (70, 0, 80, 3)), (12, 60)
    )
    assert (wide.top, wide.left, wide.shares.shape) == (3, 5, (6, 30))
    far = (14.5 / 10) ** 2 + 0.25**2
    np.testing.assert_allclose(wide.shares[2, 0], 0.5 ** (far**2), rtol=1e-6)
    np.testing.assert_allclose(wide.shares[2, ::-1], wide.shares[2], rtol=1e-6)
    assert (cut.top, cut.left, cut.shares.shape) == (0, 0, (5, 15))
    assert outside.shares.size == 0
    assert np.isneginf(score_map((12, 60), [outside], np.ones(1))).all()
    assert FadingBox().outline(boxes(), (12, 60)) == []


def test_no_box_gives_an_empty_map() -> None:
    assert np.isneginf(score_map((2, 3), [], np.zeros(0))).all()


class TwoObjects:
    """A network of two predictions on a 64x64 input: an object at the left, one at the right."""

    class_names: ClassVar = {0: "person"}
    strides = (8, 16, 32)
    channels = (1, 1, 1)
    weights_sha256 = ""

    def forward(self, blob: np.ndarray) -> ForwardOutput:
        # centre x, centre y, width, height, score; the second and third are of one object
        predictions = np.array(
            [[16, 32, 32, 64, 0.9], [48, 32, 32, 64, 0.3], [48, 32, 30, 60, 0.8]], np.float32
        ).T[None]
        coefficients = np.array([[1, 0], [-1, 0], [0, 1]], np.float32).T[None]
        prototypes = np.full((1, 2, 16, 16), -1.0, np.float32)
        prototypes[0, 0, :8] = 1.0  # the upper half
        prototypes[0, 1, 8:] = 1.0  # the lower half
        return ForwardOutput(predictions, (), coefficients, prototypes)


def test_instance_masks_belong_to_the_best_prediction_of_the_box() -> None:
    detector = Detector(backend=TwoObjects(), config=DetectorConfig(input_size=64))
    image = np.zeros((32, 32, 3), np.uint8)
    rows = boxes((0, 0, 15, 31), (16, 0, 31, 31), (0, 0, 31, 3))
    masks = InstanceMasks(detector)
    masks.see(Frame(image, 0, 0))
    left, right, other = masks.outline(rows, (32, 32))
    expected = np.zeros((32, 16), bool)
    expected[:16] = True
    np.testing.assert_array_equal(left.mask, expected)
    np.testing.assert_array_equal(right.mask, ~expected)
    assert (right.top, right.left) == (0, 16)
    assert other.mask.shape == (4, 32)  # no prediction overlaps it enough: the whole box
    assert other.mask.all()


def test_a_detector_without_masks_is_refused(detector: Detector) -> None:
    masks = InstanceMasks(detector)
    masks.see(Frame(np.zeros((64, 64, 3), np.uint8), 0, 0))
    with pytest.raises(ValueError, match="give mask_weights="):
        masks.outline(boxes((0, 0, 9, 9)), (64, 64))


def test_a_segmentation_network_runs_behind_the_interface() -> None:
    # No trained weights: this shows shapes, geometry and determinism, not the quality of masks.
    ultralytics = import_ultralytics()
    torch.manual_seed(0)
    network = ultralytics.nn.tasks.SegmentationModel("yolov8n-seg.yaml", verbose=False)
    network.names = {i: str(i) for i in range(80)}
    backend = TorchBackend(model=network, weights_sha256="", device=torch.device("cpu"))
    detector = Detector(backend=backend, config=DetectorConfig(input_size=96))
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    output = backend.forward(detector.letterbox(image).blob(image))
    assert output.predictions.shape[1] == 4 + 80
    assert output.mask_coefficients is not None
    assert output.prototypes is not None
    assert output.mask_coefficients.shape[1] == output.prototypes.shape[1] == 32
    detections, _ = detector.detect(image)  # mask coefficients are no classes
    assert detections.class_ids.max(initial=0) < 80
    rows = boxes((10, 5, 40, 50), (60, 20, 89, 59), (2, 2, 3, 3))
    outliners = [InstanceMasks(detector) for _ in range(2)]
    for outliner in outliners:
        outliner.see(Frame(image, 0, 0))
    first, second = (outliner.outline(rows, (60, 90)) for outliner in outliners)
    for patch, again, box in zip(first, second, rows, strict=True):
        width, height = (box[2:] - box[:2] + 1).astype(int)
        assert patch.mask.shape == (height, width)
        assert patch.mask.any()
        np.testing.assert_array_equal(patch.mask, again.mask)


def test_sam2_weights_are_read_by_path_and_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        Sam2.load(tmp_path / "sam2_t.pt", sha256="any")
    path = tmp_path / "sam2_t.pt"
    torch.save({"model": Trap()}, path)
    with pytest.raises(WeightsError, match=r"a known checkpoint; .* set mask_weights_sha256 to"):
        Sam2.load(path, sha256="")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Sam2.load(path, sha256="any")
    assert not (tmp_path / "sprung").exists()
    unknown = tmp_path / "weights.pt"
    torch.save({"model": {"a": torch.zeros(1)}}, unknown)
    with pytest.raises(WeightsError, match=r"such as sam2_t\.pt"):
        Sam2.load(unknown, sha256="any")


class Trap:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(Path("sprung").resolve()),)


@pytest.mark.slow
def test_sam2_runs_behind_the_interface(tmp_path: Path) -> None:
    # Randomly initialised: this shows shapes and geometry, not the quality of masks.
    import_ultralytics()
    from ultralytics.models.sam.build import build_sam2_t

    torch.manual_seed(0)
    torch.save({"model": build_sam2_t().state_dict()}, tmp_path / "sam2_t.pt")
    masks = Sam2Masks(Sam2.load(tmp_path / "sam2_t.pt", sha256="any", device="cpu"))
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    rows = boxes((10, 5, 40, 50), (60, 20, 89, 59))
    masks.see(Frame(image, 0, 0))
    patches = masks.outline(rows, (60, 90))
    assert [patch.mask.shape for patch in patches] == [(46, 31), (40, 30)]
    assert all(patch.mask.any() for patch in patches)
    assert masks.outline(boxes(), (60, 90)) == []
