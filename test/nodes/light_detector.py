"""A detector of nothing, and the detector node with it as a program."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from tao_anomaly.detection import backends
from tao_anomaly.detection.detector import ForwardOutput
from tao_anomaly.structures import FloatArray


class LightBackend:
    """A detector of nothing: finds boxes on a grid at once, or slowly, or fails.

    objects: boxes found. seconds: that an inference takes. error: raised instead, once.
    """

    name = "light"
    strides = (8, 16, 32)
    channels = (4, 4, 4)
    weights_sha256 = "light"

    def __init__(self) -> None:
        self.class_names = {0: "person"}
        self.objects = 3
        self.seconds = 0.0
        self.error: Exception | None = None

    def forward(self, blob: FloatArray) -> ForwardOutput:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        time.sleep(self.seconds)
        count, _, height, width = blob.shape
        columns = int(np.ceil(np.sqrt(self.objects)))
        rows, places = np.divmod(np.arange(self.objects), columns)
        cell = np.array([width, height]) / columns
        predictions = np.zeros((count, 5, self.objects), np.float32)
        predictions[:, 0], predictions[:, 1] = (places + 0.5) * cell[0], (rows + 0.5) * cell[1]
        predictions[:, 2], predictions[:, 3] = 0.7 * cell[0], 0.7 * cell[1]
        predictions[:, 4] = np.linspace(0.9, 0.5, self.objects)
        maps = [torch.ones(count, 4, height // s, width // s) for s in self.strides]
        return ForwardOutput(predictions, tuple(maps))


if __name__ == "__main__":
    from tao_anomaly.nodes.detector_node import main

    backends.load_backend = lambda config: LightBackend()
    sys.exit(main())
