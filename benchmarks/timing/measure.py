"""Several backends, and what they are measured against, on the same images in turns."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from benchmarks.timing.rivals import BareForward, UltralyticsTrack, take_turns
from benchmarks.timing.stages import Stages, Stopwatch, another, fit_scorer, load_scorer
from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Frame


@dataclass
class Timing:
    """What was measured of one backend, or of the rival, which has no `bare` forward pass.

    cosine: the lowest of a pyramid level with that of the first backend, of all images.
    """

    name: str
    watch: Stopwatch
    tracks: list[int]
    bare: Stopwatch = field(default_factory=Stopwatch)
    cosine: float = 1.0


@dataclass(frozen=True)
class Setup:
    """What is loaded once: a detector and a scorer for each backend. rival: whether it runs."""

    config: PipelineConfig
    detectors: list[Detector]
    scorers: list[Scorer]
    rival: bool

    @staticmethod
    def load(
        config: PipelineConfig,
        *,
        backends: Sequence[str],
        model: str,
        rival: bool,
        frames: Sequence[Frame],
    ) -> Setup:
        """Load detectors and the artifact `model`; where that is empty, fit cues to `frames`."""
        detectors = [
            Detector.from_config(replace(config.detector, backend=name)) for name in backends
        ]
        scorers = [
            load_scorer(model, config, detector) if model else fit_scorer(frames, config, detector)
            for detector in detectors
        ]
        return Setup(config, detectors, scorers, rival)

    def contenders(self, first: Frame, objects: int) -> list[Stages | UltralyticsTrack]:
        """Return the stages with each backend, and the rival, for at most so many objects."""
        limited = replace(self.config.detector, max_detections=objects)
        config = replace(self.config, detector=limited)
        found: list[Stages | UltralyticsTrack] = [
            Stages(config, Detector(backend=detector.backend, config=limited), another(scorer))
            for detector, scorer in zip(self.detectors, self.scorers, strict=True)
        ]
        return [*found, UltralyticsTrack(limited, first)] if self.rival else found


def measure(setup: Setup, frames: Sequence[Frame], warmup: int) -> list[Timing]:
    """Return what each backend, and the rival, took for the images after the warm-up."""
    runs = setup.contenders(frames[0], setup.config.detector.max_detections)
    bares, turns = [BareForward(detector) for detector in setup.detectors], random.Random(0)
    for frame in frames[:warmup]:
        take_turns([*runs, *bares], frame, turns)
    for contender in (*runs, *bares):
        contender.forget_times()
    timings = [Timing(each.name, each.watch, each.tracks) for each in runs]
    stages = [each for each in runs if isinstance(each, Stages)]
    for timing, bare in zip(timings, bares, strict=False):
        timing.bare = bare.watch
    for frame in frames[warmup:]:
        take_turns([*runs, *bares], frame, turns)
        for timing, each in zip(timings, stages, strict=False):
            timing.cosine = min(timing.cosine, lowest_cosine(each.maps, stages[0].maps))
    return timings


def measure_crowd(
    setup: Setup, frames: Sequence[Frame], warmup: int, counts: Sequence[int]
) -> tuple[dict[int, list[Timing]], list[Timing]]:
    """Return the same by number of objects, and the bare forward passes: all in turns."""
    groups = {count: setup.contenders(frames[0], count) for count in counts}
    bares, turns = [BareForward(detector) for detector in setup.detectors], random.Random(0)
    everybody = [*bares, *(each for group in groups.values() for each in group)]
    for number, frame in enumerate(frames):
        if number == warmup:
            for contender in everybody:
                contender.forget_times()
        take_turns(everybody, frame, turns)
    found = {
        count: [Timing(each.name, each.watch, each.tracks) for each in group]
        for count, group in groups.items()
    }
    return found, [Timing(bare.detector.backend.name, bare.watch, []) for bare in bares]


def lowest_cosine(maps: tuple[torch.Tensor, ...], others: tuple[torch.Tensor, ...]) -> float:
    """Return the lowest cosine of the levels of two pyramids of one image."""
    pairs = [
        (a.double().flatten(), b.double().flatten()) for a, b in zip(maps, others, strict=True)
    ]
    return min(float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs)
