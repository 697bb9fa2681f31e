from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_anomaly.detection.letterbox import PADDING, Letterbox

SIDES = st.integers(1, 4097)


def test_ped2_is_scaled_to_the_width_and_padded_to_the_stride() -> None:
    letterbox = Letterbox.fit((240, 360), input_size=640)
    assert letterbox.content == (427, 640)  # 240 * 640 / 360 = 426.67
    assert letterbox.padded == (448, 640)
    assert letterbox.offset == (0, 10)
    assert letterbox.scale == (640 / 360, 427 / 240)


def test_portrait_images_are_scaled_to_the_height() -> None:
    letterbox = Letterbox.fit((1920, 1081), input_size=640)
    assert letterbox.content == (640, 360)
    assert letterbox.padded == (640, 384)
    assert letterbox.offset == (12, 0)


@given(height=SIDES, width=SIDES, input_size=st.sampled_from((320, 640, 1280)), data=st.data())
def test_boxes_survive_the_round_trip(height: int, width: int, input_size: int, data) -> None:
    letterbox = Letterbox.fit((height, width), input_size=input_size)
    x, y = (
        data.draw(st.lists(st.floats(0, side, width=32), min_size=2, max_size=2))
        for side in (width, height)
    )
    box = np.array([[x[0], y[0], x[1], y[1]]], np.float32)
    back = letterbox.to_source(letterbox.to_input(box))
    np.testing.assert_allclose(back, box, rtol=0, atol=0.01)


@given(height=SIDES, width=SIDES)
def test_the_whole_image_is_the_whole_content(height: int, width: int) -> None:
    letterbox = Letterbox.fit((height, width), input_size=640)
    box = letterbox.to_input(np.array([[0, 0, width, height]], np.float32))
    (left, top), (tall, wide) = letterbox.offset, letterbox.content
    np.testing.assert_allclose(box, [[left, top, left + wide, top + tall]], rtol=1e-6)
    assert letterbox.padded[0] % 32 == letterbox.padded[1] % 32 == 0
    assert 0 <= left <= 16
    assert 0 <= top <= 16


# Enlarging blurs the edges evenly; reducing samples between pixels, which may miss half a pixel.
@pytest.mark.parametrize(
    ("size", "pixels"), [((240, 360), 0.1), ((481, 637), 0.1), ((1081, 1919), 0.5), ((97, 41), 0.1)]
)
def test_blob_shows_a_block_where_to_input_says(size: tuple[int, int], pixels: float) -> None:
    height, width = size
    x1, y1, x2, y2 = width // 4, height // 3, width // 4 + width // 3, height // 3 + height // 4
    image = np.zeros((height, width, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    letterbox = Letterbox.fit(size, input_size=640)
    blob = letterbox.blob(image)
    assert blob.shape == (1, 3, *letterbox.padded)
    assert blob.dtype == np.float32
    (left, top), (tall, wide) = letterbox.offset, letterbox.content
    content = blob[0, 0, top : top + tall, left : left + wide].astype(np.float64)
    box = letterbox.to_input(np.array([[x1, y1, x2, y2]], np.float32))[0]
    centre = [
        left + (content.sum(axis=0) @ (np.arange(wide) + 0.5)) / content.sum(),
        top + (content.sum(axis=1) @ (np.arange(tall) + 0.5)) / content.sum(),
    ]
    expected = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    np.testing.assert_allclose(centre, expected, rtol=0, atol=pixels)
    assert content.sum() == pytest.approx((box[2] - box[0]) * (box[3] - box[1]), rel=0.01)
    middle = content[int(box[1] + box[3]) // 2 - top, int(box[0] + box[2]) // 2 - left]
    assert middle == 1.0


def test_blob_is_rgb_between_0_and_1_with_grey_borders() -> None:
    image = np.full((100, 320, 3), (10, 20, 30), np.uint8)
    letterbox = Letterbox.fit((100, 320), input_size=320)
    blob = letterbox.blob(image)[0]
    np.testing.assert_allclose(blob[:, 64, 160], np.array([30, 20, 10]) / 255, atol=1e-6)
    np.testing.assert_allclose(blob[:, [0, 13, 114, 127], :], PADDING / 255, atol=1e-6)
    edges = blob[:, [14, 113], 160]
    np.testing.assert_allclose(edges, np.array([[30] * 2, [20] * 2, [10] * 2]) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "kind"), [((9, 16), np.uint8), ((9, 16, 4), np.uint8), ((9, 16, 3), np.float32)]
)
def test_other_images_are_refused(shape: tuple[int, ...], kind: type) -> None:
    letterbox = Letterbox.fit((9, 16), input_size=32)
    with pytest.raises(
        ValueError, match=r"got an image of shape .* expected \(H, W, 3\) and uint8"
    ):
        letterbox.blob(np.zeros(shape, kind))


def test_an_image_anywhere_in_its_frame_is_the_scaled_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 21, 3), dtype=np.uint8)
    letterbox = Letterbox.fit((40, 21), input_size=80)
    blob = letterbox.blob(image)[0]
    (left, top), (height, width) = letterbox.offset, letterbox.content
    assert left > 0
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    inner = blob[::-1, top : top + height, left : left + width].transpose(1, 2, 0)
    np.testing.assert_array_equal(inner, scaled.astype(np.float32) * np.float32(1 / 255))
