"""Images and stamps to messages and back."""

from __future__ import annotations

import array
import struct

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tao_anomaly.media.image_encoding import decode_compressed, decode_raw
from tao_anomaly.structures import NANOSECONDS, Frame, ImageArray


def to_nanoseconds(time: Time | Duration) -> int:
    """Return a time or duration message in nanoseconds, exactly."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def to_time(nanoseconds: int) -> Time:
    """Return nanoseconds as a time message, exactly."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def stamp_of(message: bytes) -> int:
    """Return the stamp in nanoseconds of a serialised message that begins with a header.

    Raises ValueError where it is too short for one.
    """
    if len(message) < 12:
        raise ValueError(f"got a message of {len(message)} bytes, expected one with a header")
    little = message[1] & 1  # of the CDR encapsulation
    seconds, rest = struct.unpack_from("<iI" if little else ">iI", message, 4)
    return int(seconds) * NANOSECONDS + int(rest)


def frame_from_image(message: Image | CompressedImage, index: int) -> Frame:
    """Return the BGR frame of an image message; without a copy for bgr8.

    Raises ImageError for an empty or truncated image or an encoding that is no colour or grey.
    """
    if isinstance(message, CompressedImage):
        image = decode_compressed(memoryview(message.data))
    else:
        image = decode_raw(
            memoryview(message.data),
            height=message.height,
            width=message.width,
            step=message.step,
            encoding=message.encoding,
            is_bigendian=bool(message.is_bigendian),
        )
    return Frame(image, to_nanoseconds(message.header.stamp), index)


def image_message(image: ImageArray, header: Header) -> Image:
    """Return a ``(H, W, 3)`` uint8 BGR image as a bgr8 message."""
    height, width, channels = image.shape
    data = array.array("B")  # an ndarray in Image.data costs rclpy a check of every byte
    data.frombytes(np.ascontiguousarray(image).tobytes())
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="bgr8",
        step=width * channels,
        data=data,
    )
