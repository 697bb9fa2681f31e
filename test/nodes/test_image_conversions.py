"""Images of every kind become BGR frames, and those that cannot say why."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="no ROS 2: make setup, then make test")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tao_anomaly.media.image_encoding import ImageError
from tao_anomaly.nodes import image_conversions as convert

STAMP_NS = 1_700_000_000_123_456_789


def header() -> Header:
    return Header(stamp=convert.to_time(STAMP_NS), frame_id="camera")


def over_the_wire(message: Image) -> Image:
    return deserialize_message(serialize_message(message), Image)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (6, 5, 3), np.uint8)


def image(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    rows = pixels.reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    data = array.array("B", padded.tobytes())
    height, width = pixels.shape[:2]
    step = padded.shape[1]
    return Image(
        header=header(), height=height, width=width, encoding=encoding, step=step, data=data
    )


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "rgba8", "bgra8", "mono8"])
def test_images_of_every_encoding_become_bgr(
    picture: np.ndarray, encoding: str, padding: int
) -> None:
    alpha = np.full((6, 5, 1), 9, np.uint8)
    sent = {
        "bgr8": picture,
        "rgb8": picture[:, :, ::-1],
        "bgra8": np.concatenate([picture, alpha], axis=2),
        "rgba8": np.concatenate([picture[:, :, ::-1], alpha], axis=2),
        "mono8": picture[:, :, 0],
    }[encoding]
    expected = np.repeat(picture[:, :, :1], 3, axis=2) if encoding == "mono8" else picture
    frame = convert.frame_from_image(over_the_wire(image(sent, encoding, padding)), 3)
    np.testing.assert_array_equal(frame.image, expected)
    assert (frame.stamp_ns, frame.index) == (STAMP_NS, 3)


@pytest.mark.parametrize("encoding", ["rgb8", "rgba8", "bgra8", "mono8"])
def test_conversion_agrees_with_cv_bridge(picture: np.ndarray, encoding: str) -> None:
    bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed").CvBridge()
    channels = {"mono8": 1, "rgb8": 3}.get(encoding, 4)
    pixels = np.random.default_rng(3).integers(0, 256, (6, 5, channels), np.uint8)
    message = image(pixels[:, :, 0] if channels == 1 else pixels, encoding)
    theirs = bridge.imgmsg_to_cv2(message, desired_encoding="bgr8")
    np.testing.assert_array_equal(convert.frame_from_image(message, 0).image, theirs)


def test_a_bgr_image_is_not_copied(picture: np.ndarray) -> None:
    message = image(picture, "bgr8")
    data = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(convert.frame_from_image(message, 0).image, data)


def test_an_image_survives_the_way_there_and_back(picture: np.ndarray) -> None:
    message = convert.image_message(picture[:, ::-1], header())
    assert isinstance(message.data, array.array)
    assert (message.step, message.encoding, message.header) == (15, "bgr8", header())
    back = convert.frame_from_image(over_the_wire(message), 0)
    np.testing.assert_array_equal(back.image, picture[:, ::-1])


def test_a_compressed_image_is_read(picture: np.ndarray) -> None:
    data = cv2.imencode(".png", picture)[1].tobytes()
    message = CompressedImage(header=header(), format="png", data=array.array("B", data))
    np.testing.assert_array_equal(convert.frame_from_image(message, 0).image, picture)


def test_images_that_cannot_be_read_say_why(picture: np.ndarray) -> None:
    cases = [
        (Image(), "got an empty image of 0x0"),
        (image(picture, "32FC1"), "got image encoding '32FC1', expected one of bgr8"),
        (image(picture, ""), "got image encoding ''"),
    ]
    truncated, narrow, empty = (image(picture, "bgr8") for _ in range(3))
    truncated.data = truncated.data[:-1]
    narrow.step = 14
    empty.data = array.array("B")
    cases += [
        (truncated, "got 89 bytes, expected 90"),
        (narrow, "got step 14, expected at least 15"),
        (empty, "got 0 bytes, expected 90"),
    ]
    for message, problem in cases:
        with pytest.raises(ImageError, match=problem):
            convert.frame_from_image(message, 0)
    with pytest.raises(ImageError, match="no complete JPEG or PNG"):
        convert.frame_from_image(CompressedImage(data=array.array("B", b"nonsense")), 0)
