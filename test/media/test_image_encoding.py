from __future__ import annotations

import cv2
import numpy as np
import pytest

from tao_anomaly.media.image_encoding import ImageError, decode_compressed, decode_raw

BGR = np.array(
    [
        [[0, 0, 255], [0, 255, 0], [255, 0, 0], [10, 20, 30]],
        [[255, 255, 255], [0, 0, 0], [7, 7, 7], [1, 2, 3]],
    ],
    np.uint8,
)
GREY = np.array([[0, 1, 2, 3], [128, 200, 254, 255]], np.uint8)


def as_message(
    pixels: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False
) -> dict[str, object]:
    """Return the fields of a sensor_msgs/Image; padded rows end in bytes that are no pixels."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    filled = np.concatenate([rows, np.full((height, padding), 99, np.uint8)], axis=1)
    return {
        "data": filled.tobytes(),
        "height": height,
        "width": width,
        "step": rows.shape[1] + padding,
        "encoding": encoding,
        "is_bigendian": big,
    }


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 50, np.uint8)], axis=2)


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("bgr8", BGR, BGR),
        ("8UC3", BGR, BGR),
        ("rgb8", BGR[..., ::-1], BGR),
        ("bgra8", with_alpha(BGR), BGR),
        ("8UC4", with_alpha(BGR), BGR),
        ("rgba8", with_alpha(BGR[..., ::-1]), BGR),
        ("mono8", GREY, np.repeat(GREY[..., None], 3, axis=2)),
        ("8UC1", GREY, np.repeat(GREY[..., None], 3, axis=2)),
        ("mono16", GREY.astype("<u2") * 256 + 77, np.repeat(GREY[..., None], 3, axis=2)),
    ],
)
def test_pixels_come_through_exactly(
    encoding: str, pixels: np.ndarray, expected: np.ndarray, padding: int
) -> None:
    image = decode_raw(**as_message(pixels, encoding, padding=padding))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_the_byte_order_of_mono16_is_honoured() -> None:
    values = (GREY.astype(np.uint16) * 256 + 77).astype(">u2")
    image = decode_raw(**as_message(values, "mono16", big=True))
    np.testing.assert_array_equal(image[..., 0], GREY)
    swapped = decode_raw(**as_message(values, "mono16"))
    assert np.all(swapped == 77)


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_bayer_patterns_name_the_first_two_rows(encoding: str, channel: int) -> None:
    """A picture of one colour gives light on that colour's cells only."""
    letters = np.array(list(encoding[6:10])).reshape(2, 2)
    mosaic = np.tile(np.where(letters == "bgr"[channel], 200, 0), (4, 5)).astype(np.uint8)
    image = decode_raw(**as_message(mosaic, encoding))
    inner = image[2:-2, 2:-2]
    assert np.all(inner[..., channel] == 200)
    assert np.all(np.delete(inner, channel, axis=2) == 0)


@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("uyvy", (1, 0, 2, 0)),
        ("yuv422", (1, 0, 2, 0)),
        ("yuyv", (0, 1, 0, 2)),
        ("yuv422_yuy2", (0, 1, 0, 2)),
    ],
)
@pytest.mark.parametrize("bgr", [(0, 0, 255), (0, 255, 0), (255, 0, 0), (90, 90, 90)])
def test_yuv_pairs(encoding: str, order: tuple[int, ...], bgr: tuple[int, int, int]) -> None:
    b, g, r = (value / 255 for value in bgr)
    luma = 0.299 * r + 0.587 * g + 0.114 * b  # ITU-R BT.601, studio range
    y, u, v = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402
    pair = np.array([y, u, v]).round().astype(np.uint8)[list(order)]
    image = decode_raw(**as_message(np.tile(pair.reshape(1, 2, 2), (3, 4, 1)), encoding))
    assert image.shape == (3, 8, 3)
    np.testing.assert_allclose(image, np.broadcast_to(bgr, image.shape), atol=3)


def test_bgr8_is_not_copied() -> None:
    message = as_message(BGR, "bgr8")
    data = np.frombuffer(message["data"], np.uint8).copy()
    assert np.shares_memory(decode_raw(**{**message, "data": data}), data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(kind: type) -> None:
    message = as_message(BGR, "bgr8", padding=3)
    np.testing.assert_array_equal(decode_raw(**{**message, "data": kind(message["data"])}), BGR)


def test_the_last_row_needs_no_padding() -> None:
    message = as_message(BGR, "bgr8", padding=5)
    message["data"] = message["data"][:-5]
    np.testing.assert_array_equal(decode_raw(**message), BGR)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0, "width": 0}, "empty image of 0x0"),
        ({"height": 0}, "empty image of 4x0"),
        ({"width": -4}, "empty image of -4x2"),
        ({"encoding": "32FC1"}, "got image encoding '32FC1', expected one of bgr8, .*convert it"),
        ({"encoding": ""}, "got image encoding ''"),
        ({"step": 11}, "got step 11, expected at least 12 for 4 px of bgr8"),
        ({"step": 0}, "got step 0"),
        ({"data": b"\0" * 23}, "got 23 bytes, expected 24 for 4x2 bgr8; the message is truncated"),
        ({"data": b""}, "got 0 bytes"),
        ({"height": 2**31, "width": 2**31, "step": 2**33}, "is truncated"),
        ({"encoding": "uyvy", "width": 3}, "got uyvy of width 3, expected an even one"),
    ],
)
def test_broken_messages_are_image_errors(change: dict[str, object], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode_raw(**{**as_message(BGR, "bgr8"), **change})


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_compressed_images_are_bgr(suffix: str) -> None:
    content = cv2.imencode(suffix, BGR)[1].tobytes()
    np.testing.assert_array_equal(decode_compressed(content), BGR)
    grey = decode_compressed(cv2.imencode(suffix, GREY)[1].tobytes())
    np.testing.assert_array_equal(grey, np.repeat(GREY[..., None], 3, axis=2))


def test_jpeg_is_nearly_what_it_was() -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
    content = cv2.imencode(".jpg", smooth)[1]
    np.testing.assert_allclose(decode_compressed(content), smooth, atol=4)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_files_are_image_errors(suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8)
    content = cv2.imencode(suffix, noise)[1].tobytes()
    with pytest.raises(ImageError, match="no complete JPEG or PNG image"):
        decode_compressed(content[: int(share * len(content))])


def test_what_is_no_image_is_an_image_error() -> None:
    png = bytearray(cv2.imencode(".png", BGR)[1].tobytes())
    png[16:24] = (2**31 - 1).to_bytes(4, "big") * 2  # claims 4 * 10^18 pixels
    for content in (b"", b"no image at all", bytes(1000), bytes(png)):
        with pytest.raises(ImageError, match=f"got {len(content)} bytes that are no complete"):
            decode_compressed(content)
