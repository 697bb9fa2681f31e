"""Ped2 Test004: a cart drives through the scene; its pixel masks say where it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.media.source import open_source
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import FloatArray, Tracks

FIRST = 72  # the cart is wholly in the picture from here to the end
STEP = 2  # every other image of 10 Hz


@pytest.fixture(scope="module")
def tracked(ped2: Path, detector: Detector) -> list[tuple[Tracks, FloatArray]]:
    """Tracks of each image, and the cart's true box ``(1, 4)``."""
    perception = Perception.from_config(PipelineConfig(), detector=detector)
    found = []
    for frame in list(open_source(ped2 / "Test/Test004"))[FIRST::STEP]:
        features = perception.process(frame)
        assert features is not None
        found.append((features.tracks, cart_box(ped2, frame.index)))
    assert perception.epoch == 7  # the second of the first image: none began since
    return found


def cart_box(ped2: Path, index: int) -> FloatArray:
    """Return the box of the largest region of the mask."""
    mask = cv2.imread(str(ped2 / f"Test/Test004_gt/{index + 1:03d}.png"), cv2.IMREAD_GRAYSCALE)
    _, _, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    x, y, width, height, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    return np.array([[x, y, x + width, y + height]], np.float32)


def test_one_id_covers_the_cart(tracked: list[tuple[Tracks, FloatArray]]) -> None:
    ids: Counter[str] = Counter()
    for tracks, cart in tracked:
        overlap = iou(cart, tracks.boxes)[0]
        if len(tracks) and overlap.max() > 0.5:
            ids[tracks.ids[int(overlap.argmax())]] += 1
    (commonest, images), *_ = ids.most_common()
    assert images >= 0.95 * len(tracked), ids
    elsewhere = [
        float(iou(cart, tracks.boxes[[tracks.ids.index(commonest)]])[0, 0])
        for tracks, cart in tracked
        if commonest in tracks.ids
    ]
    assert min(elsewhere) > 0.3  # and it never jumps to another object


def test_people_keep_their_ids_too(tracked: list[tuple[Tracks, FloatArray]]) -> None:
    """About eight people walk here: far fewer ids than boxes."""
    boxes = sum(len(tracks) for tracks, _ in tracked)
    ids = {track_id for tracks, _ in tracked for track_id in tracks.ids}
    assert boxes > 4 * len(tracked)
    assert len(ids) < boxes / 8


def test_ids_survive_other_streams_on_the_same_detector(
    ped2: Path, detector: Detector, tracked: list[tuple[Tracks, FloatArray]]
) -> None:
    frames = list(open_source(ped2 / "Test/Test004"))[FIRST : FIRST + 5 * STEP : STEP]
    mine, other = (Perception.from_config(PipelineConfig(), detector=detector) for _ in range(2))
    other.reset()
    for frame, (wanted, _) in zip(frames, tracked, strict=False):
        upside_down = replace(frame, image=np.ascontiguousarray(frame.image[::-1]))
        other.process(upside_down)
        got = mine.process(frame)
        assert got is not None
        assert got.tracks.ids == wanted.ids
        assert np.array_equal(got.tracks.boxes, wanted.boxes)
