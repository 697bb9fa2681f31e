from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tao_anomaly.features.optical_flow import DIRECTIONS, BoxFlow
from tao_anomaly.structures import NANOSECONDS, FloatArray, Frame
from tao_anomaly.tracking.camera_motion import CameraMotion

SIZE = (120, 160)
BOX = np.array([[40, 30, 120, 90]], np.float32)
STEP = 0.1  # seconds
NOTHING = np.zeros((1, DIRECTIONS), np.float32)


@pytest.fixture
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def texture(seed: int = 0, size: tuple[int, int] = SIZE, grain: float = 3.0) -> np.ndarray:
    """A grey texture with a margin of 32 pixels."""
    noise = np.random.default_rng(seed).random((size[0] + 64, size[1] + 64), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def view(
    grey: np.ndarray, *, x: int = 0, y: int = 0, seconds: float = 0.0, size: tuple[int, int] = SIZE
) -> Frame:
    """The texture moved by x and y pixels, as an image at some time."""
    part = grey[32 - y : 32 - y + size[0], 32 - x : 32 - x + size[1]]
    image = np.repeat(part[..., None], 3, axis=2)
    return Frame(np.ascontiguousarray(image), round(seconds * NANOSECONDS), 0)


def moved(x: int, y: int, *, seconds: float = STEP, **settings: object) -> FloatArray:
    """What is found in BOX after everything moved by x and y pixels."""
    flow, grey = BoxFlow(), texture()
    flow.update(view(grey), BOX)
    return flow.update(view(grey, x=x, y=y, seconds=seconds), BOX, **settings)


@pytest.mark.parametrize(
    ("shift", "eighth"),
    [
        *[((4, 0), 0), ((3, 3), 1), ((0, 4), 2), ((-3, 3), 3)],
        *[((-4, 0), 4), ((-3, -3), 5), ((0, -4), 6), ((3, -3), 7)],
    ],
)
def test_a_shift_is_found_in_its_eighth(shift: tuple[int, int], eighth: int) -> None:
    found = moved(*shift)
    assert (found.shape, found.dtype) == ((1, DIRECTIONS), np.float32)
    # pixels of an image of 120 in a tenth of a second
    assert found[0, eighth] == pytest.approx(np.hypot(*shift) / 120 / STEP, rel=0.05)
    assert np.delete(found[0], eighth).sum() < 0.05 * found[0, eighth]


def test_the_same_shift_in_twice_the_time_is_half_as_fast() -> None:
    np.testing.assert_allclose(moved(4, 1, seconds=0.2), moved(4, 1) / 2, rtol=1e-6)


def test_only_what_moves_inside_a_box_counts() -> None:
    """A patch moves right on a still ground: the box that it fills a quarter of has a quarter."""
    ground, patch = texture(0), texture(1)
    boxes = np.array([[70, 46, 98, 74], [24, 0, 144, 120], [2, 4, 28, 110]], np.float32)
    flows = [BoxFlow() for _ in boxes]
    for step in range(2):
        frame = view(ground, seconds=step * STEP)
        frame.image[30:90, 50 + 4 * step : 110 + 4 * step] = patch[:60, :60, None]
        found = np.concatenate(
            [flow.update(frame, box[None]) for flow, box in zip(flows, boxes, strict=True)]
        )
    rightwards = found[:, 0]  # along +x
    assert rightwards[0] == pytest.approx(4 / 120 / STEP, rel=0.1)
    assert rightwards[1] == pytest.approx(rightwards[0] / 4, rel=0.25)
    assert found[2].sum() < 0.05 * rightwards[0]


def test_what_another_box_covers_is_left_to_it() -> None:
    """Only the right half of the image moves; a still object's box reaches into it."""
    ground, patch = texture(0), texture(1)
    still, mover = [20.0, 20.0, 100.0, 100.0], [80.0, 10.0, 150.0, 110.0]
    found = {}
    for name, boxes in {"alone": [still], "both": [still, mover], "same": [still, still]}.items():
        flow = BoxFlow()
        for step in range(2):
            frame = view(ground, seconds=step * STEP)
            frame.image[:, 80:] = patch[:120, 8 - 4 * step : 88 - 4 * step, None]
            found[name] = flow.update(frame, np.array(boxes, np.float32))
    alone, both = found["alone"][0, 0], found["both"]
    assert alone == pytest.approx(4 / 120 / STEP / 4, rel=0.3)  # a quarter of the box moves
    assert both[0, 0] < 0.2 * alone
    assert both[1, 0] == pytest.approx(4 / 120 / STEP, rel=0.1)
    # two boxes of one object: neither has anything of its own, so both have all of it
    np.testing.assert_allclose(found["same"], np.repeat(found["alone"], 2, axis=0))


def test_nothing_moves_in_a_first_image() -> None:
    flow, grey = BoxFlow(), texture()
    np.testing.assert_array_equal(flow.update(view(grey), BOX), NOTHING)
    assert flow.update(view(grey, x=4, seconds=STEP), BOX).any()
    flow.reset()
    np.testing.assert_array_equal(flow.update(view(grey, x=8, seconds=2 * STEP), BOX), NOTHING)


def test_images_of_two_sizes_are_not_compared() -> None:
    flow, grey = BoxFlow(), texture()
    flow.update(view(grey), BOX)
    for step, size in ((1, (120, 150)), (2, SIZE)):
        found = flow.update(view(grey, x=4, seconds=step * STEP, size=size), BOX)
        np.testing.assert_array_equal(found, NOTHING)
    assert flow.update(view(grey, x=8, seconds=3 * STEP), BOX).any()


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_speed_where_time_does_not_go_on(seconds: float) -> None:
    np.testing.assert_array_equal(moved(4, 1, seconds=seconds), NOTHING)


def test_no_boxes_give_no_rows_and_the_image_is_remembered() -> None:
    flow, grey = BoxFlow(), texture()
    none = np.zeros((0, 4), np.float32)
    for step in range(2):
        found = flow.update(view(grey, x=8 * step, seconds=step * STEP), none)
        assert found.shape == (0, DIRECTIONS)
    found = flow.update(view(grey, x=12, y=1, seconds=2 * STEP), BOX)  # 4 and 1 since the last
    assert found[0, 0] == pytest.approx(np.sqrt(17) / 120 / STEP, rel=0.05)


def test_a_comparison_made_before_gives_the_same() -> None:
    flow, grey = BoxFlow(), texture()
    for step in range(2):
        frame = view(grey, x=4 * step, y=step, seconds=step * STEP)
        found = flow.update(frame, BOX, comparison=flow.compare(frame))
    assert found.any()
    np.testing.assert_array_equal(found, moved(4, 1))


def test_a_comparison_with_another_image_than_the_last_is_not_used() -> None:
    flow, grey = BoxFlow(), texture()
    flow.update(view(grey), BOX)
    third = view(grey, x=8, y=2, seconds=2 * STEP)
    early = flow.compare(third)  # with the first
    flow.update(view(grey, x=4, y=1, seconds=STEP), BOX)
    found = flow.update(third, BOX, comparison=early)
    np.testing.assert_allclose(found, moved(4, 1), atol=0.02)
    fourth = view(grey, x=12, y=3, seconds=3 * STEP)
    early = flow.compare(fourth)
    assert early.back is not None
    flow.reset()
    np.testing.assert_array_equal(flow.update(fourth, BOX, comparison=early), NOTHING)


def test_boxes_may_leave_the_image() -> None:
    flow, grey = BoxFlow(), texture()
    boxes = np.array([[-50, -50, 400, 400], [-20, -20, -5, -5], [170, 10, 200, 30]], np.float32)
    flow.update(view(grey), boxes)
    found = flow.update(view(grey, x=4, y=1, seconds=STEP), boxes)
    assert np.isfinite(found).all()
    assert found[0, 0] == pytest.approx(np.sqrt(17) / 120 / STEP, rel=0.1)


def test_the_motion_of_the_camera_is_taken_off() -> None:
    shift = CameraMotion(np.eye(2), np.array([4.0, 1.0]))
    assert moved(4, 1, motion=shift).sum() < 0.05 * moved(4, 1).sum()
    # what stays in the image while the camera turns moves the other way
    back = moved(0, 0, motion=shift)
    np.testing.assert_allclose(back[0, 4], np.sqrt(17) / 120 / STEP, rtol=0.05)


def test_a_camera_that_draws_near_moves_nothing() -> None:
    grown = CameraMotion(1.05 * np.eye(2), np.zeros(2))
    grey = texture()[:120, :160]
    wide = cv2.warpAffine(grey, np.array([[1.05, 0, 0.025], [0, 1.05, 0.025]]), (160, 120))
    first, second = (
        Frame(np.repeat(image[..., None], 3, axis=2), stamp, 0)
        for image, stamp in ((grey, 0), (wide, NANOSECONDS // 10))
    )
    found = []
    for settings in ({}, {"motion": grown}):
        flow = BoxFlow()
        flow.update(first, BOX)
        found.append(flow.update(second, BOX, **settings).sum())
    assert found[1] < 0.05 * found[0]


def test_large_images_are_made_small() -> None:
    size, boxes = (480, 768), np.array([[200, 100, 600, 400]], np.float32)
    grey = texture(size=size, grain=8.0)
    flow = BoxFlow()
    flow.update(view(grey, size=size), boxes)
    found = flow.update(view(grey, x=16, y=4, seconds=STEP, size=size), boxes)
    assert found[0, 0] == pytest.approx(np.hypot(16, 4) / 480 / STEP, rel=0.05)
    assert found[0, 1:].sum() < 0.05 * found[0, 0]
    # the motion of the camera is in pixels of the source
    shift = CameraMotion(np.eye(2), np.array([16.0, 4.0]))
    flow.reset()
    flow.update(view(grey, size=size), boxes)
    left = flow.update(view(grey, x=16, y=4, seconds=STEP, size=size), boxes, shift)
    assert left.sum() < 0.05 * found.sum()


@pytest.mark.parametrize("size", [SIZE, (480, 768)])
def test_the_number_of_threads_changes_nothing(threads: None, size: tuple[int, int]) -> None:
    grey, found = texture(size=size, grain=1.0), []
    for number in (1, 2, 7):
        cv2.setNumThreads(number)
        flow = BoxFlow()
        flow.update(view(grey, size=size), BOX)
        found.append(flow.update(view(grey, x=5, y=-3, seconds=STEP, size=size), BOX))
    assert found[0].any()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 45), (12, 384), (16, 90), (19, 384), (31, 384), (400, 12), (4, 4000)]
)
def test_too_narrow_an_image_tells_nothing(size: tuple[int, int]) -> None:
    """OpenCV's search fails in some of these sizes, gives NaN in others, or ends the process."""
    flow = BoxFlow()
    for step in range(2):
        image = np.random.default_rng(step).integers(0, 255, (*size, 3), np.uint8)
        found = flow.update(Frame(image, step * NANOSECONDS, 0), BOX)
    np.testing.assert_array_equal(found, NOTHING)


@pytest.mark.parametrize("size", [(32, 32), (32, 384), (48, 64), (32, 4000 * 32 // 384)])
def test_small_images_change_nothing_for_larger_ones(size: tuple[int, int]) -> None:
    flow, grey = BoxFlow(), texture()
    small = texture(1, size=size)
    for step in range(2):
        found = flow.update(view(small, x=step, seconds=step * STEP, size=size), BOX)
        assert np.isfinite(found).all()
    flow.update(view(grey, seconds=2 * STEP), BOX)
    found = flow.update(view(grey, x=4, y=1, seconds=3 * STEP), BOX)
    np.testing.assert_allclose(found, moved(4, 1), rtol=1e-6)
