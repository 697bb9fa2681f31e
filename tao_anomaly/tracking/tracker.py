"""What a tracker offers, and when its state must be discarded."""

from __future__ import annotations

from typing import Protocol

from tao_anomaly.config import TrackerConfig
from tao_anomaly.structures import NANOSECONDS, Detections, Tracks
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion


class Tracker(Protocol):
    """Multi-object tracker of one stream; each instance owns its ids."""

    def update(self, detections: Detections, stamp_ns: int, motion: CameraMotion = STILL) -> Tracks:
        """Return the objects seen in this image; call it for every image, empty ones too.

        motion: of the camera, from the last image to this one.
        """
        ...

    def reset(self, epoch: int) -> None:
        """Forget all objects; ids from now on begin with this epoch."""
        ...


class EpochGuard:
    """Decides from stamps and sizes whether an image continues the stream.

    epoch: rises whenever tracker state must be discarded. The first is the whole second of the
    first stamp: a tracker started again on a running camera repeats no epoch, and thus no track id,
    of the one before (unless that one began more epochs than it ran seconds). Footage whose time
    begins at 0 has epoch 0 in every run.
    """

    def __init__(self, config: TrackerConfig) -> None:
        self.epoch = 0
        self._config = config
        self._stamp_ns: int | None = None
        self._size: tuple[int, int] | None = None

    def is_duplicate(self, stamp_ns: int) -> bool:
        """Return whether this stamp is the last one again: the image adds nothing."""
        return stamp_ns == self._stamp_ns

    def check(self, stamp_ns: int, size: tuple[int, int]) -> str:
        """Take in the next image; return why a new epoch began, "" where it did not."""
        reason = self._reason(stamp_ns, size)
        if self._stamp_ns is None:
            self.epoch = max(self.epoch, stamp_ns // NANOSECONDS)
        self.epoch += bool(reason)
        self._stamp_ns, self._size = stamp_ns, size
        return reason

    def restart(self) -> None:
        """Begin a new epoch with the next image, whatever it is."""
        self.epoch += 1
        self._stamp_ns = self._size = None

    def _reason(self, stamp_ns: int, size: tuple[int, int]) -> str:
        if self._stamp_ns is None:
            return ""
        seconds = (stamp_ns - self._stamp_ns) / NANOSECONDS
        if seconds < 0:
            return f"time went back by {-seconds:.3f} s"
        if seconds > self._config.max_gap:
            return f"no image for {seconds:.3f} s"
        return f"image size changed from {self._size} to {size}" if size != self._size else ""
