"""One detector for several streams: what waits at the same time goes through it in one batch."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from tao_anomaly.detection.detector import Detector, ImageOutput
from tao_anomaly.detection.letterbox import Letterbox
from tao_anomaly.structures import FloatArray, ImageArray


class _Request:
    """An image that waits for the detector."""

    def __init__(self, letterbox: Letterbox, blob: FloatArray) -> None:
        self.letterbox, self.blob = letterbox, blob
        self.output: ImageOutput | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.output is not None or self.error is not None

    def result(self) -> ImageOutput:
        if self.error is not None:
            raise RuntimeError(f"the shared detector failed: {self.error}") from self.error
        assert self.output is not None
        return self.output


class SharedDetector(Detector):
    """A detector that each stream asks from a thread of its own.

    Requests are served in the order they came, those of one input size up to `max_batch` at once: a
    stream that has asked is served before any other is served twice. Results differ from those of a
    batch of one by rounding; `max_batch` 1 serves them one by one. batches: how many of each size.
    """

    def __init__(self, detector: Detector, *, max_batch: int = 8) -> None:
        super().__init__(backend=detector.backend, config=detector.config)
        self.max_batch = max_batch
        self.batches: dict[int, int] = {}
        self._waiting: deque[_Request] = deque()
        self._forward = threading.Lock()

    def forward(self, image: ImageArray) -> ImageOutput:
        """Run the network on a ``(H, W, 3)`` BGR image and those that wait with it.

        Raises RuntimeError where the forward pass failed, for all images of its batch.
        """
        letterbox = self.letterbox(image)
        request = _Request(letterbox, letterbox.blob(image))
        self._waiting.append(request)
        with self._forward:  # whoever gets here serves those who wait
            while not request.done:
                self._serve(self._next_batch())
        return request.result()

    def _next_batch(self) -> list[_Request]:
        """Take the oldest request and the others of its size."""
        batch = [self._waiting.popleft()]
        others: deque[_Request] = deque()
        while self._waiting:
            request = self._waiting.popleft()
            fits = request.blob.shape == batch[0].blob.shape and len(batch) < self.max_batch
            (batch if fits else others).append(request)
        self._waiting.extendleft(reversed(others))
        return batch

    def _serve(self, batch: list[_Request]) -> None:
        self.batches[len(batch)] = self.batches.get(len(batch), 0) + 1
        try:
            output = self.backend.forward(np.concatenate([request.blob for request in batch]))
            for index, request in enumerate(batch):
                request.output = ImageOutput(output, request.letterbox, index)
        except Exception as error:
            for request in batch:
                request.error = error
