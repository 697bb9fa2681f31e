"""Detector: one forward pass gives the objects of an image and its feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.letterbox import Letterbox
from tao_anomaly.detection.postprocess import to_candidates, to_detections
from tao_anomaly.structures import Candidates, Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FeaturePyramid:
    """What the detector has of one image beside its objects.

    maps: of the FPN, finest first: one ``(C, H, W)`` float32 tensor a level, on the detector's
    device. strides: input pixels a cell of each level. letterbox: from the source image to the
    input. candidates: all boxes with their class scores.
    """

    maps: tuple[torch.Tensor, ...]
    strides: tuple[int, ...]
    letterbox: Letterbox
    candidates: Candidates


@dataclass(frozen=True)
class ForwardOutput:
    """What a backend returns for a batch of B inputs.

    predictions: ``(B, 4 + C, A)`` float32 on the CPU. maps: ``(B, C, H, W)`` a level. Of a network
    for instance segmentation also mask_coefficients ``(B, K, A)`` and prototypes ``(B, K, h, w)``:
    an object's mask is where its coefficients times the prototypes are positive.
    """

    predictions: FloatArray
    maps: tuple[torch.Tensor, ...]
    mask_coefficients: FloatArray | None = None
    prototypes: FloatArray | None = None


@dataclass(frozen=True)
class ImageOutput:
    """What a forward pass gave for one image: its letterbox, and its index in the batch."""

    batch: ForwardOutput
    letterbox: Letterbox
    index: int = 0


class Backend(Protocol):
    """An inference engine with a loaded YOLOv8 network; threads may share it.

    name: of the engine. class_names: what each class index is called. strides and channels: of P3,
    P4, P5. weights_sha256: of the weights file, part of every feature_id.
    """

    name: str
    class_names: dict[int, str]
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    weights_sha256: str

    def forward(self, blob: FloatArray) -> ForwardOutput:
        """Run the network once on ``(B, 3, H, W)`` float32 RGB in 0..1."""
        ...


Found = tuple[Detections, FeaturePyramid]


class Detector:
    """Letterbox, forward, suppression; knows images and boxes, no stream."""

    def __init__(self, *, backend: Backend, config: DetectorConfig) -> None:
        self.backend = backend
        self.config = config

    @staticmethod
    def from_config(config: DetectorConfig) -> Detector:
        """Load the weights that `config` names; raises WeightsError with the remedy."""
        from tao_anomaly.detection.backends import load_backend

        return Detector(backend=load_backend(config), config=config)

    def detect(self, image: ImageArray) -> Found:
        """Return the objects of a ``(H, W, 3)`` BGR image, best first, and its pyramid."""
        return self.found(self.forward(image))

    def forward(self, image: ImageArray) -> ImageOutput:
        """Run the network on a ``(H, W, 3)`` BGR image: `found` tells what it found."""
        letterbox = self.letterbox(image)
        return ImageOutput(self.backend.forward(letterbox.blob(image)), letterbox)

    def detect_all(self, images: Sequence[ImageArray]) -> list[Found]:
        """Return what `detect` does of each image, in one forward pass for those of one size."""
        of_one_size: dict[Letterbox, list[int]] = {}
        for index, image in enumerate(images):
            of_one_size.setdefault(self.letterbox(image), []).append(index)
        found: dict[int, Found] = {}
        for letterbox, indices in of_one_size.items():
            blobs = [letterbox.blob(images[index]) for index in indices]
            output = self.backend.forward(np.concatenate(blobs) if len(blobs) > 1 else blobs[0])
            for position, index in enumerate(indices):
                found[index] = self.found(ImageOutput(output, letterbox, position))
        return [found[index] for index in range(len(images))]

    def letterbox(self, image: ImageArray) -> Letterbox:
        """Return the geometry for images of this size."""
        return Letterbox.fit((image.shape[0], image.shape[1]), input_size=self.config.input_size)

    def found(self, output: ImageOutput) -> Found:
        """Return the objects of an image, best first, and its pyramid."""
        candidates = to_candidates(output.batch.predictions[output.index], self.config)
        maps = tuple(level[output.index] for level in output.batch.maps)
        pyramid = FeaturePyramid(maps, self.backend.strides, output.letterbox, candidates)
        return to_detections(candidates, output.letterbox, self.config), pyramid
