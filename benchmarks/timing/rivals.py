"""What the pipeline is measured against: the forward pass alone, and ultralytics' own loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch

from benchmarks.timing.stages import FORWARD, Stopwatch
from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.ultralytics_adapter import TorchBackend, import_ultralytics
from tao_anomaly.structures import Frame
from tao_anomaly.weights import find_weights

Contender = Callable[[Frame], object]


def take_turns(contenders: Sequence[Contender], frame: Frame, turns: Random) -> None:
    """Show an image to all, in random order: a busy machine is as busy for one as for another.

    A scheduler that shares fairly lets wait who comes after the one that took most.
    """
    for contender in turns.sample(contenders, len(contenders)):
        contender(frame)


class BareForward:
    """The forward pass of a backend and nothing else, on an image that is ready for it."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.watch = Stopwatch()

    def __call__(self, frame: Frame) -> None:
        """Run the network; the letterbox is not timed."""
        blob = self.detector.letterbox(frame.image).blob(frame.image)
        with self.watch(FORWARD):
            self.detector.backend.forward(blob)

    def forget_times(self) -> None:
        """Begin to measure."""
        self.watch = Stopwatch()


class UltralyticsTrack:
    """The loop that ultralytics documents: ``model.track(image, persist=True)``, with ByteTrack.

    It has the same network, input size, device, threads, lowest confidence and most boxes; it
    computes no features and no scores. tracks: objects in each image.
    """

    name = "ultralytics track"

    def __init__(self, config: DetectorConfig, first: Frame) -> None:
        path = find_weights(config.weights, sha256=config.weights_sha256)
        own = TorchBackend.load(path, config=config)
        threads = torch.get_num_threads()
        import_ultralytics()
        from ultralytics import YOLO
        from ultralytics.nn.autobackend import AutoBackend

        if not _torchvision_works():
            # It imports torchvision; without it, the loop takes ultralytics' own suppression.
            AutoBackend.warmup = lambda *_, **__: None
        own.model.model[-1]._forward_pre_hooks.clear()  # ours, for the pyramid
        self._yolo: Any = YOLO("yolov8n.yaml", task="detect", verbose=False)
        self._yolo.model = own.model  # read without executing what the file may hold
        self._settings: dict[str, Any] = {
            "imgsz": config.input_size,
            "conf": config.confidence,
            "iou": config.nms_iou,
            "max_det": config.max_detections,
            "device": str(own.device),
            "tracker": "bytetrack.yaml",
            "persist": True,
            "verbose": False,
        }
        self.watch = Stopwatch()
        self.tracks: list[int] = []
        self(first)
        torch.set_num_threads(threads)  # it has set its own
        self.forget_times()

    def __call__(self, frame: Frame) -> None:
        """Detect and track."""
        with self.watch("track"):
            found = self._yolo.track(frame.image, **self._settings)[0]
        self.tracks.append(0 if found.boxes.id is None else len(found.boxes.id))

    def forget_times(self) -> None:
        """Begin to measure."""
        self.watch, self.tracks = Stopwatch(), []


def _torchvision_works() -> bool:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # it fails on a torch without CUDA
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        return False
    return True
