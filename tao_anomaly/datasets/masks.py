"""Pixel masks of one clip, in the forms datasets release them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import scipy.io

from tao_anomaly.structures import BoolArray


class MaskError(ValueError):
    """Masks that cannot be read; the message names the file."""


class Masks(Protocol):
    """Masks of one clip, a frame each; iterating begins at the first.

    A mask is ``(H, W)`` bool, True where anomalous, or None where no pixel of the frame is.
    """

    @property
    def files(self) -> Sequence[Path]:
        """What the masks are read from."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[BoolArray | None]: ...


def read_mask_image(path: Path) -> np.ndarray:
    """Return an image file as stored, ``(H, W)``: the highest channel where it has several."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise MaskError(f"{path}: not a readable mask image; fetch the file again")
    # The alpha channel of a PNG says nothing of anomalies.
    return image if image.ndim == 2 else image[:, :, :3].max(axis=2)


def mask_or_none(mask: np.ndarray) -> BoolArray | None:
    """Return where `mask` is not zero, None where it is zero everywhere."""
    return mask > 0 if mask.any() else None


@dataclass(frozen=True)
class ImageMasks:
    """One image file a frame, not zero where anomalous."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[BoolArray | None]:
        for path in self.files:
            yield mask_or_none(read_mask_image(path))


@dataclass(frozen=True)
class ArrayMasks:
    """A NumPy file ``(T, H, W)``, not zero where anomalous (ShanghaiTech)."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def _open(self) -> np.ndarray:
        array = load_array(self.path)
        if array.ndim != 3:
            raise MaskError(f"{self.path}: got shape {array.shape}, expected (T, H, W)")
        return array

    def __len__(self) -> int:
        return len(self._open())

    def __iter__(self) -> Iterator[BoolArray | None]:
        for mask in self._open():
            yield mask_or_none(mask)


@dataclass(frozen=True)
class MatlabMasks:
    """A MATLAB file with a cell array of T masks ``(H, W)`` (CUHK Avenue: ``volLabel``)."""

    path: Path
    variable: str = "volLabel"

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def __len__(self) -> int:
        try:
            shapes = {name: shape for name, shape, _ in scipy.io.whosmat(str(self.path))}
        except (OSError, ValueError) as error:
            raise MaskError(f"{self.path}: not a readable MATLAB file ({error})") from error
        if self.variable not in shapes:
            raise MaskError(
                f"{self.path}: got variables {', '.join(shapes)}, expected {self.variable}"
            )
        return int(np.prod(shapes[self.variable]))

    def __iter__(self) -> Iterator[BoolArray | None]:
        len(self)
        cells = scipy.io.loadmat(str(self.path), variable_names=[self.variable])[self.variable]
        for mask in cells.ravel():
            yield mask_or_none(np.asarray(mask))


def load_array(path: Path) -> np.ndarray:
    """Return a NumPy file, mapped and never unpickled; raises MaskError naming it."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MaskError(f"{path}: not a readable NumPy array ({error})") from error
