"""Images with as many objects as are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from tao_anomaly.structures import Frame

CELLS = 3  # a side of the mosaic
_APART = 7  # images between two cells, so that no two show the same
DESCRIPTION = (
    f"Each image is a mosaic of {CELLS}x{CELLS} images of the footage, of the size of one. All"
    " objects are found in it by the detector and taken through every stage; `max_detections`,"
    " which the rival has too, limits them to the most confident."
)


def mosaics(frames: Sequence[Frame], count: int) -> Iterator[Frame]:
    """Yield `count` mosaics; in each cell the footage goes on by an image a mosaic."""
    height, width = frames[0].size
    for step in range(count):
        image = np.zeros_like(frames[0].image)
        for cell in range(CELLS**2):
            shown = frames[(step + _APART * cell) % len(frames)].image
            row, column = divmod(cell, CELLS)
            top, bottom = row * height // CELLS, (row + 1) * height // CELLS
            left, right = column * width // CELLS, (column + 1) * width // CELLS
            size = right - left, bottom - top
            image[top:bottom, left:right] = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
        stamp_ns = frames[0].stamp_ns + step * (frames[1].stamp_ns - frames[0].stamp_ns)
        yield replace(frames[0], image=image, stamp_ns=stamp_ns, index=step)
