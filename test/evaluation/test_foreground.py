"""What moves inside each box, on squares that move over noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.evaluation.foreground import Foreground
from tao_anomaly.structures import NANOSECONDS, Frame

RATE = 10
SIZE = (48, 120)
SIDE = 12
STEP = 4  # pixels an image
STANDING = (90, 20)  # left, top


def scene(index: int) -> Frame:
    """A wall seen with noise: a square of SIDE pixels goes right, another stands."""
    image = np.random.default_rng(index).normal(100, 3, SIZE)
    for left, top in ((STEP * index, 20), STANDING):
        image[top : top + SIDE, left : left + SIDE] = 200
    return Frame(np.repeat(image[..., None], 3, axis=2).astype(np.uint8), stamp(index), index)


def stamp(index: int) -> int:
    return index * NANOSECONDS // RATE


def play(foreground: Foreground, images: int) -> None:
    foreground.reset()
    for index in range(images):
        foreground.see(scene(index))


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def box_around(left: int, top: int) -> tuple[float, ...]:
    """A box in inclusive pixels, 4 wider on the left and right than the square, 2 above, below."""
    return left - 4, top - 2, left + SIDE + 3, top + SIDE + 1


@pytest.mark.parametrize("images", [9, 18])
def test_a_moving_square_gives_its_pixels(images: int) -> None:
    foreground = Foreground()
    play(foreground, images)
    (patch,) = foreground.outline(boxes(box_around(STEP * (images - 1), 20)), SIZE)
    expected = np.zeros((SIDE + 4, SIDE + 8), bool)
    expected[2:-2, 4:-4] = True
    assert (patch.top, patch.left) == (18, STEP * (images - 1) - 4)
    assert set(np.unique(patch.shares)) == {0.25, 1.0}
    # Noise of three deviations is background, but for a pixel here and there.
    assert np.count_nonzero(patch.mask != expected) <= 0.02 * expected.size
    assert patch.mask[expected].all()


def test_a_standing_square_gives_its_box() -> None:
    foreground = Foreground()
    play(foreground, 18)
    (patch,) = foreground.outline(boxes(box_around(*STANDING)), SIZE)
    assert patch.mask.shape == (SIDE + 4, SIDE + 8)
    assert patch.mask.all()


def test_gaps_in_what_moves_are_closed() -> None:
    foreground = Foreground()
    foreground.reset()
    wall = np.full((80, 60, 3), 100, np.uint8)
    for index in range(5):
        foreground.see(Frame(wall, stamp(index), index))
    walker = wall.copy()
    walker[10:70, 20:40] = 200
    walker[30:34, 20:40] = 100  # the colour of the wall: 4 of 60 rows
    foreground.see(Frame(walker, stamp(5), 5))
    (patch,) = foreground.outline(boxes((10, 10, 49, 69)), (80, 60))
    expected = np.zeros((60, 40), bool)
    expected[:, 10:30] = True
    np.testing.assert_array_equal(patch.mask, expected)


def test_a_clip_begins_anew() -> None:
    foreground = Foreground()
    play(foreground, 18)
    row = boxes(box_around(STEP * 17, 20))
    assert not foreground.outline(row, SIZE)[0].mask.all()
    foreground.reset()
    foreground.see(scene(17))
    assert foreground.outline(row, SIZE)[0].mask.all()
    second = Foreground()
    play(second, 10)
    play(foreground, 10)
    row = boxes(box_around(STEP * 9, 20))
    np.testing.assert_array_equal(
        foreground.outline(row, SIZE)[0].mask, second.outline(row, SIZE)[0].mask
    )


def test_a_change_of_light_gives_whole_boxes() -> None:
    foreground = Foreground()
    play(foreground, 18)
    lit = scene(18)
    foreground.see(Frame(np.minimum(lit.image, 195) + np.uint8(60), lit.stamp_ns, 18))
    (patch,) = foreground.outline(boxes(box_around(STEP * 18, 20)), SIZE)
    assert patch.mask.all()


@pytest.fixture(scope="module")
def played() -> Foreground:
    foreground = Foreground()
    play(foreground, 15)
    return foreground


coordinates = st.floats(-30, 150)


@settings(deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates, st.floats(0, 90), st.floats(0, 90))))
def test_a_patch_lies_in_box_and_image_and_is_not_empty(
    played: Foreground, corners: list[tuple[float, ...]]
) -> None:
    rows = boxes(*((x, y, x + width, y + height) for x, y, width, height in corners))
    patches = played.outline(rows, SIZE)
    assert len(patches) == len(rows)
    for patch, (x1, y1, x2, y2) in zip(patches, rows, strict=True):
        height, width = patch.mask.shape
        assert 0 <= patch.top <= patch.top + height <= SIZE[0]
        assert 0 <= patch.left <= patch.left + width <= SIZE[1]
        assert patch.mask.any() or not patch.mask.size
        if patch.mask.size:
            assert patch.left + 0.5 >= x1
            assert patch.left + width - 0.5 <= x2 + 1
            assert patch.top + 0.5 >= y1
            assert patch.top + height - 0.5 <= y2 + 1
