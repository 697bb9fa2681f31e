"""Several cameras in one process, each in a thread, with one detector: the nodes' `together`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from benchmarks.timing.rivals import BareForward
from benchmarks.timing.stages import FORWARD
from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.shared_detector import SharedDetector
from tao_anomaly.detection.ultralytics_adapter import torch_device
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Frame
from tao_anomaly.windows import TrackBuffer

_BURST = 5  # images that a camera shows between two changes of their number
_WARMUP = 1  # bursts
_CUDA_BATCH = 8  # as the node has it; on a CPU a batch of 1


class Camera:
    """A stream with state of its own; latencies: seconds of each image, waiting included."""

    def __init__(self, config: PipelineConfig, detector: Detector, scorer: Scorer) -> None:
        self.perception = Perception.from_config(config, detector=detector)
        self.buffer = TrackBuffer(config.windows)
        self.scorer = scorer
        self.latencies: list[float] = []

    def show(self, frames: Sequence[Frame]) -> None:
        """Take images as fast as it goes."""
        for frame in frames:
            start = time.perf_counter()
            features = self.perception.process(frame)
            if features is not None:
                self.scorer.update(self.buffer.update(features))
            self.latencies.append(time.perf_counter() - start)


@dataclass
class Together:
    """Cameras that run at the same time: seconds of each burst of all of them."""

    cameras: list[Camera]
    bursts: list[float] = field(default_factory=list)

    def show(self, frames: Sequence[Frame]) -> None:
        """Let every camera take these images, and wait for the last."""
        threads = [threading.Thread(target=c.show, args=(frames,)) for c in self.cameras]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.bursts.append(time.perf_counter() - start)

    def row(self) -> str:
        """Return the line of the table."""
        images = len(self.cameras) * _BURST
        rate = images / float(np.mean(self.bursts))
        latency = np.concatenate([camera.latencies for camera in self.cameras])
        middle, high = 1e3 * np.percentile(latency, (50, 95))
        return (
            f"| {len(self.cameras)} | {rate:.1f} | {rate / len(self.cameras):.1f} |"
            f" {middle:.1f} | {high:.1f} |"
        )


def compare_cameras(
    frames: Sequence[Frame],
    most: int,
    config: PipelineConfig,
    detector: Detector,
    make_scorer: Callable[[], Scorer],
) -> str:
    """Return the table of 1 to `most` cameras; their numbers take turns, as does the bare forward.

    make_scorer: a camera has an engine of its own, as it has in the node.
    """
    on_cuda = torch_device(config.detector.device).type == "cuda"
    shared = SharedDetector(detector, max_batch=_CUDA_BATCH if on_cuda else 1)
    groups = [
        Together([Camera(config, shared, make_scorer()) for _ in range(count)])
        for count in range(1, most + 1)
    ]
    bare, turns = BareForward(detector), Random(0)
    bursts = [frames[i : i + _BURST] for i in range(0, len(frames) - _BURST + 1, _BURST)]
    if len(bursts) <= _WARMUP:
        expected = (_WARMUP + 1) * _BURST
        raise ValueError(f"got {len(frames)} images for cameras, expected at least {expected}")
    for number, burst in enumerate(bursts):
        for group in turns.sample(groups, len(groups)):
            group.show(burst)
        for frame in burst:
            bare(frame)
        if number == _WARMUP - 1:
            _forget(groups, bare)
    lines = [
        "| cameras | images/s in all | images/s a camera | latency, median ms | p95 ms |",
        "|---:|---:|---:|---:|---:|",
        *(group.row() for group in groups),
    ]
    rate = 1 / float(np.mean(bare.watch.seconds[FORWARD]))
    note = f"The bare forward pass in turns with them: {rate:.1f} images/s."
    return "\n".join([*lines, "", note])


def _forget(groups: Sequence[Together], bare: BareForward) -> None:
    for group in groups:
        group.bursts.clear()
        for camera in group.cameras:
            camera.latencies.clear()
    bare.forget_times()
