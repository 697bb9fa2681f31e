"""Raw image buffers, as sensor_msgs/Image describes them, to BGR arrays."""

from __future__ import annotations

import cv2
import numpy as np

from tao_anomaly.structures import ImageArray

# encoding -> (channels, dtype, OpenCV conversion to BGR or None); names as in
# sensor_msgs/image_encodings.hpp
_ENCODINGS: dict[str, tuple[int, str, int | None]] = {
    "bgr8": (3, "u1", None),
    "8UC3": (3, "u1", None),
    "rgb8": (3, "u1", cv2.COLOR_RGB2BGR),
    "mono8": (1, "u1", cv2.COLOR_GRAY2BGR),
    "8UC1": (1, "u1", cv2.COLOR_GRAY2BGR),
    "mono16": (1, "u2", cv2.COLOR_GRAY2BGR),
    "bgra8": (4, "u1", cv2.COLOR_BGRA2BGR),
    "8UC4": (4, "u1", cv2.COLOR_BGRA2BGR),
    "rgba8": (4, "u1", cv2.COLOR_RGBA2BGR),
    "bayer_rggb8": (1, "u1", cv2.COLOR_BayerRGGB2BGR),
    "bayer_bggr8": (1, "u1", cv2.COLOR_BayerBGGR2BGR),
    "bayer_gbrg8": (1, "u1", cv2.COLOR_BayerGBRG2BGR),
    "bayer_grbg8": (1, "u1", cv2.COLOR_BayerGRBG2BGR),
    "uyvy": (2, "u1", cv2.COLOR_YUV2BGR_UYVY),
    "yuv422": (2, "u1", cv2.COLOR_YUV2BGR_UYVY),
    "yuyv": (2, "u1", cv2.COLOR_YUV2BGR_YUYV),
    "yuv422_yuy2": (2, "u1", cv2.COLOR_YUV2BGR_YUYV),
}


class ImageError(ValueError):
    """An image buffer that cannot be read; the message says got, expected and remedy."""


def decode_raw(
    data: bytes | memoryview | np.ndarray,
    *,
    height: int,
    width: int,
    step: int,
    encoding: str,
    is_bigendian: bool = False,
) -> ImageArray:
    """Return a ``(H, W, 3)`` uint8 BGR image of a raw buffer, a view of it for bgr8.

    step: bytes a row, padding included. Raises ImageError for an empty image, an unknown encoding,
    an odd width of an encoding by pairs, a row shorter than its pixels or a buffer shorter than its
    rows.
    """
    if height <= 0 or width <= 0:
        raise ImageError(f"got an empty image of {width}x{height}, expected at least 1x1 pixels")
    if encoding not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise ImageError(
            f"got image encoding {encoding!r}, expected one of {known}; convert it upstream"
        )
    channels, kind, conversion = _ENCODINGS[encoding]
    if channels == 2 and width % 2:
        raise ImageError(f"got {encoding} of width {width}, expected an even one; it pairs pixels")
    dtype = np.dtype((">" if is_bigendian else "<") + kind)
    row = width * channels * dtype.itemsize
    if step < row:
        raise ImageError(f"got step {step}, expected at least {row} for {width} px of {encoding}")
    needed = step * (height - 1) + row
    buffer = np.frombuffer(data, np.uint8)
    if len(buffer) < needed:
        raise ImageError(
            f"got {len(buffer)} bytes, expected {needed} for {width}x{height} {encoding};"
            " the message is truncated"
        )
    strided = np.lib.stride_tricks.as_strided(buffer, (height, row), (step, 1), writeable=False)
    pixels = strided if dtype.itemsize == 1 else np.ascontiguousarray(strided).view(dtype)
    pixels = pixels.reshape(height, width, channels) if channels > 1 else pixels
    if dtype.itemsize == 2:
        pixels = (pixels >> 8).astype(np.uint8)
    if conversion is None:
        return pixels
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), conversion), np.uint8)


def decode_compressed(data: bytes | memoryview | np.ndarray) -> ImageArray:
    """Return the BGR image of a JPEG, PNG or other buffer OpenCV reads; raises ImageError."""
    buffer = np.frombuffer(data, np.uint8)
    _refuse_damaged_png(buffer.data)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes, or a header that asks for more memory than OpenCV allows
        image = None
    if image is None:
        raise ImageError(f"got {len(buffer)} bytes that are no complete JPEG or PNG image")
    return np.asarray(image, np.uint8)


def _refuse_damaged_png(data: memoryview) -> None:
    """Raise ImageError for a PNG with a chunk that ends behind its data.

    OpenCV would fill memory of whatever length a damaged chunk claims, for seconds.
    """
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return
    at = 8
    while at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")  # length, type, content, checksum
    if at > len(data):
        raise ImageError(f"got {len(data)} bytes that are no complete JPEG or PNG image")
