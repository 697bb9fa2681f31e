"""Score maps from what moves inside each box of a fixed camera's images, with no network."""

from __future__ import annotations

import cv2
import numpy as np

from tao_anomaly.evaluation.pixel_map import BoxFill, Outliner, Patch
from tao_anomaly.structures import Frame, ImageArray
from tao_anomaly.tracking.background import Background
from tao_anomaly.tracking.camera_motion import small_grey

_BACKGROUND = 0.6  # share of the time; more, and in a first second who walks by is background too
_REACH = 0.065  # of a box's height, each way, over which gaps in what moves are closed
_LEAST = 0.2  # share of a box that moves, for the rest not to be the object: a walker fills 0.4
_REST = 0.25  # share of the score there: limbs that look like the ground are missed


class Foreground(Outliner):
    """The pixels of a box that are not the background as the clip showed it up to then.

    All of the box where too little of it moves, as of standing objects, in a clip's first images
    and with a moving camera.
    """

    note = f"what moves inside each box, {_REST:g} of the score in the rest of it"
    every_row = True

    def reset(self) -> None:
        """Forget the clip before."""
        self._background = Background(share=_BACKGROUND, eager=True)

    def see(self, frame: Frame) -> None:
        """Find what moves in the clip's next image, and learn its background."""
        self._moving = self._background.moving(small_grey(frame.image, 1), frame.stamp_ns)

    def outline(self, boxes: np.ndarray, size: tuple[int, int]) -> list[Patch]:
        """Return what moves in the boxes."""
        filled = BoxFill().outline(boxes, size)
        return [_outlined(box, self._moving) if box.shares.size else box for box in filled]


def _outlined(box: Patch, moving: ImageArray) -> Patch:
    """Return the part of a box that moves, the box where that is too little."""
    height, width = box.shares.shape
    cut = moving[box.top : box.top + height, box.left : box.left + width]
    reach = round(_REACH * height)
    # Gaps up to the box's own sides are none: the object may end before them.
    padded = np.pad(cut, reach)
    side = 2 * reach + 1
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    mask = closed[reach : reach + height, reach : reach + width] > 0
    if np.count_nonzero(mask) < _LEAST * mask.size:
        return box
    return Patch.of_mask(box.top, box.left, mask, rest=_REST)
