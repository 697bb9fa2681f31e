"""Time the pipeline, whole and by stage, beside the bare forward pass and ultralytics' own loop.

``python benchmarks/speed.py source=<video, folder or bag> [model=<artifact folder>]``
``python benchmarks/speed.py source=<footage> backends=[torch,openvino,onnxruntime] rival=true
crowd=<footage> cameras=4 output=<file.md>``

All that is compared takes turns at each image, in random order: a busy machine is as busy for one
as for another. On CUDA a time ends when the device has done its work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

# This checkout is timed, whatever is installed; imported before NumPy and torch, whose threads it
# tells how to wait.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tao_anomaly  # noqa: F401, I001

import numpy as np
import torch

from benchmarks.conditions import conditions, listed
from benchmarks.timing.cameras import compare_cameras
from benchmarks.timing.crowd import DESCRIPTION, mosaics
from benchmarks.timing.cuda import measure_batches
from benchmarks.timing.measure import Setup, Timing, measure, measure_crowd
from benchmarks.timing.plot import plot_speed
from benchmarks.timing.stages import load_scorer
from benchmarks.timing.tables import comparison, crowd_table, table
from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import PipelineConfig, setting
from tao_anomaly.detection.ultralytics_adapter import torch_device
from tao_anomaly.media.source import SourceError, open_source
from tao_anomaly.model.artifact import ArtifactError
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Frame
from tao_anomaly.weights import WeightsError
from tao_anomaly.windows import FeatureMismatchError

_CROWD_WARMUP = 12  # images, of so many contenders


@dataclass
class SpeedConfig:
    """Settings of the command."""

    source: str = setting("", "video, image folder or bag")
    model: str = setting("", "folder of an artifact; empty: the cues of the warm-up's images")
    warmup: int = setting(20, "images before the first that is timed", minimum=2)
    images: int = setting(100, "most images timed", minimum=1)
    backends: list[str] = field(
        default_factory=list,
        metadata={"description": "detector backends; empty: the one of pipeline.detector.backend"},
    )
    rival: bool = setting(False, "time ultralytics' own track loop beside them")
    crowd: str = setting("", "footage of which mosaics with many objects are made; empty: none")
    objects: list[int] = field(
        default_factory=lambda: [1, 5, 10, 20, 35, 50],
        metadata={"description": "most objects in an image of the crowd"},
    )
    crowd_images: int = setting(20, "mosaics timed", minimum=1)
    cameras: int = setting(0, "most cameras in one process; 0: not measured", maximum=16)
    store: str = setting("", "feature store that a training on CUDA is timed on; empty: none")
    output: str = setting("", "file of the report, Markdown; empty: only printed")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


def report(setup: Setup, frames: list[Frame], config: SpeedConfig) -> str:
    """Measure, and return the tables under the conditions they were measured in."""
    timings = measure(setup, frames, config.warmup)
    parts = ["# Speed", listed(facts(timings, frames[0], config)), comparison(timings)]
    own = timings[: len(setup.detectors)]
    for timing in own:
        parts += [f"## Stages with {timing.name}", table(timing.watch)]
    if config.crowd:
        parts += ["## Number of objects", crowd(setup, config)]
    fastest = min(range(len(own)), key=lambda i: float(np.median(own[i].watch.whole)))
    if config.cameras:
        title = f"## Cameras in one process, one detector ({own[fastest].name})"
        parts += [title, cameras(setup, fastest, frames, config)]
    return "\n\n".join([*parts, "## Batches on a GPU", batches(setup, frames, config)]) + "\n"


def facts(timings: Sequence[Timing], frame: Frame, config: SpeedConfig) -> dict[str, str]:
    """Return what the tables hold for."""
    height, width = frame.size
    detector, tracks = config.pipeline.detector, timings[0].tracks
    return {
        **conditions(),
        "Threads": f"{torch.get_num_threads()} of torch {torch.__version__}",
        "Detector": f"{detector.weights}, device {torch_device(detector.device)}",
        "Model": config.model or "cues of the warm-up",
        "Source": f"{config.source}, {width}x{height}",
        "Images": f"{len(tracks)} timed after {config.warmup} of warm-up",
        "Objects an image": f"median {np.median(tracks):.0f}, most {max(tracks)}",
    }


def crowd(setup: Setup, config: SpeedConfig) -> str:
    """Measure mosaics with more and more objects and plot them."""
    footage = list(islice(open_source(config.crowd), 120))
    warmup = min(config.warmup, _CROWD_WARMUP)
    images = list(mosaics(footage, warmup + config.crowd_images))
    found, bares = measure_crowd(setup, images, warmup, config.objects)
    parts = [f"{DESCRIPTION} Footage: {config.crowd}.", crowd_table(found, bares)]
    if config.output:
        lines: dict[str, list[tuple[float, float]]] = {}
        for timings in found.values():
            for timing in timings:
                point = float(np.median(timing.tracks)), 1e3 * float(timing.watch.whole.mean())
                lines.setdefault(timing.name, []).append(point)
        levels = {bare.name: 1e3 * float(bare.watch.whole.mean()) for bare in bares}
        picture = plot_speed(Path(config.output).expanduser(), lines, levels)[0]
        parts.append(f"![Milliseconds an image over the number of objects]({picture.name})")
    return "\n\n".join(parts)


def cameras(setup: Setup, index: int, frames: list[Frame], config: SpeedConfig) -> str:
    """Measure 1 to `cameras` streams of the source with backend `index`."""
    detector = setup.detectors[index]

    def make_scorer() -> Scorer:
        if config.model:
            return load_scorer(config.model, config.pipeline, detector)
        return setup.scorers[index]

    return compare_cameras(frames[:50], config.cameras, config.pipeline, detector, make_scorer)


def batches(setup: Setup, frames: list[Frame], config: SpeedConfig) -> str:
    """Measure what only a GPU makes worth measuring."""
    device = torch_device(config.pipeline.detector.device)
    if device.type != "cuda":
        return "Not run: there is no CUDA device here."
    torch_detector = next((d for d in setup.detectors if d.backend.name == "torch"), None)
    if torch_detector is None:
        return "Not run: backend torch was not asked for."
    return measure_batches(
        frames,
        config.pipeline,
        torch_detector,
        device=device,
        model=config.model,
        store=config.store,
    )


def body(config: SpeedConfig) -> None:
    """Run the command."""
    if not config.source:
        raise SourceError("give source=<video, image folder or bag>")
    frames = list(islice(open_source(config.source), config.warmup + config.images))
    if len(frames) <= config.warmup:
        raise SourceError(
            f"{config.source}: got {len(frames)} images, expected more than warmup={config.warmup}"
        )
    setup = Setup.load(
        config.pipeline,
        backends=config.backends or [config.pipeline.detector.backend],
        model=config.model,
        rival=config.rival,
        frames=frames[: config.warmup],
    )
    text = report(setup, frames, config)
    print(text)
    if config.output:
        write_atomically(Path(config.output).expanduser(), text)


def main() -> int:
    """Run the command line."""
    errors = (SourceError, WeightsError, ArtifactError, FeatureMismatchError, ValueError, OSError)
    return run(SpeedConfig, body, description=__doc__, errors=errors)


if __name__ == "__main__":
    sys.exit(main())
