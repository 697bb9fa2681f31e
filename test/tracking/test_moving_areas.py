from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.structures import MOVING_OBJECT, NANOSECONDS, Detections, Frame
from tao_anomaly.tracking.moving_areas import MovingAreas

SIDE = 16
RATE = 10
IMAGES = 40
LAST = IMAGES - 1


def scene(index: int, *, size: tuple[int, int] = (240, 384), squares: int = 1) -> Frame:
    """A textured wall before which squares of SIDE pixels go right, 6 pixels an image."""
    random = np.random.default_rng(0)
    image = random.integers(90, 130, (*size, 3)).astype(np.uint8)
    for square in range(squares):
        x, y, side = 20 + 6 * index, 30 + 50 * square, SIDE - 4 * square
        image[y : y + side, x : x + side] = 250
    return Frame(image, index * NANOSECONDS // RATE, index)


def play(areas: MovingAreas, images: int, found: Detections, **options: int) -> Detections:
    for index in range(images):
        last = areas.add(found, scene(index, **options), most=100)
    return last


def box(x1: float, y1: float, x2: float, y2: float) -> Detections:
    return Detections(
        np.array([[x1, y1, x2, y2]], np.float32), np.array([0.9], np.float32), np.array([2])
    )


def test_a_moving_square_that_no_box_covers_is_an_object() -> None:
    found = play(MovingAreas(confidence=0.3), IMAGES, Detections.empty())
    assert len(found) == 1
    x = 20 + 6 * LAST
    np.testing.assert_allclose(found.boxes[0], [x, 30, x + SIDE, 30 + SIDE], atol=2)
    assert found.class_ids.tolist() == [MOVING_OBJECT]
    assert found.scores.tolist() == pytest.approx([0.3])
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
    assert found.class_ids.dtype == np.int64


def test_boxes_are_in_pixels_of_a_large_image() -> None:
    areas = MovingAreas(confidence=0.3)
    for index in range(IMAGES):
        small = scene(index)
        large = np.repeat(np.repeat(small.image, 3, axis=0), 3, axis=1)
        found = areas.add(Detections.empty(), Frame(large, small.stamp_ns, index), most=100)
    x = 3 * (20 + 6 * LAST)
    np.testing.assert_allclose(found.boxes[0], [x, 90, x + 3 * SIDE, 90 + 3 * SIDE], atol=6)


def test_what_moves_in_or_at_a_box_belongs_to_its_object() -> None:
    x = 20 + 6 * LAST
    whole = box(x, 30, x + SIDE, 30 + SIDE)
    upper_half = box(x, 30, x + SIDE, 30 + SIDE / 2)
    for found in (whole, upper_half):
        after = play(MovingAreas(confidence=0.3), IMAGES, found)
        np.testing.assert_array_equal(after.boxes, found.boxes)
        assert after.class_ids.tolist() == [2]
    elsewhere = play(MovingAreas(confidence=0.3), IMAGES, box(340, 190, 370, 230))
    assert elsewhere.class_ids.tolist() == [2, MOVING_OBJECT]


def test_the_largest_come_first_and_fill_what_is_left() -> None:
    areas = MovingAreas(confidence=0.3)
    three = play(areas, IMAGES, Detections.empty(), squares=3)
    sides = three.boxes[:, 2] - three.boxes[:, 0]
    assert len(three) == 3
    assert (np.diff(sides) < 0).all()
    two = areas.add(Detections.empty(), scene(IMAGES, squares=3), most=2)
    assert len(two) == 2
    known = box(340, 190, 370, 230)
    none = areas.add(known, scene(IMAGES + 1, squares=3), most=1)
    assert none.class_ids.tolist() == [2]


def test_the_first_three_seconds_and_a_change_of_light_show_nothing() -> None:
    areas = MovingAreas(confidence=0.3)
    counts = [len(areas.add(Detections.empty(), scene(i), most=100)) for i in range(IMAGES)]
    assert counts == [0] * 3 * RATE + [1] * (IMAGES - 3 * RATE)
    bright = scene(IMAGES)
    lit = Frame(
        np.minimum(bright.image.astype(int) + 80, 255).astype(np.uint8), bright.stamp_ns, IMAGES
    )
    assert len(areas.add(Detections.empty(), lit, most=100)) == 0


def test_what_stops_becomes_background_and_a_reset_forgets() -> None:
    areas = MovingAreas(confidence=0.3)
    play(areas, IMAGES, Detections.empty())
    stopped = scene(IMAGES)
    for index in range(IMAGES, IMAGES + 10 * RATE):
        stamp = index * NANOSECONDS // RATE
        found = areas.add(Detections.empty(), Frame(stopped.image, stamp, index), most=100)
    assert len(found) == 0
    areas.reset()
    assert len(areas.add(Detections.empty(), scene(400), most=100)) == 0


def test_two_runs_agree() -> None:
    runs = [play(MovingAreas(confidence=0.3), IMAGES, Detections.empty(), squares=3) for _ in "ab"]
    np.testing.assert_array_equal(runs[0].boxes, runs[1].boxes)


def test_the_excess_of_the_detector_is_kept() -> None:
    found = replace(Detections.empty(), excess=3)
    assert MovingAreas(confidence=0.3).add(found, scene(0), most=100).excess == 3
