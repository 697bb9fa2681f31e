"""Time the network of a temporal MAE on a batch of windows, in each engine.

``python benchmarks/scoring_speed.py model=<artifact> [windows=10] [output=<file.md>]``

The engines take turns, so that a busy machine is busy for all of them alike. What the windows hold
does not matter to the time: they are drawn.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

# This checkout is timed, whatever is installed; imported before NumPy and torch, whose threads it
# tells how to wait.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tao_anomaly  # noqa: F401, I001

import numpy as np
import torch

from benchmarks.conditions import conditions, listed
from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import ScorerConfig, WindowConfig, setting
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.model.window_model import TemporalMaeModel, build_network_model

ENGINES = ("torch", "onnxruntime", "openvino", "openvino_bf16")  # compared with the first
RATES = (10, 30)  # frames a second


@dataclass
class ScoringSpeedConfig:
    """Settings of the command."""

    model: str = setting("", "folder of an artifact of kind temporal_mae, with its export")
    windows: int = setting(10, "windows in the batch: objects in view", minimum=1)
    rounds: int = setting(40, "times each engine is timed", minimum=5)
    threads: int = setting(0, "CPU threads; 0: torch's default", minimum=0)
    output: str = setting("", "file of the table, Markdown; empty: only printed")


def measure(models: dict[str, TemporalMaeModel], count: int, rounds: int) -> dict[str, np.ndarray]:
    """Return the seconds of each round ``(rounds,)`` by engine, after three of warm-up."""
    random = np.random.default_rng(0)
    length, dim = WindowConfig().length, next(iter(models.values())).examiner.preparation.layout.dim
    features = random.normal(0, 0.5, (count, length, dim)).astype(np.float32)
    times = np.tile(np.linspace(-1.5, 0, length, dtype=np.float32), (count, 1))
    valid, aspect = np.ones((count, length), np.bool_), np.full(count, 1.5, np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 3):
        for name in random.permutation(list(models)):
            start = time.perf_counter()
            models[name].score(features, times, valid, aspect)
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values[3:]) for name, values in seconds.items()}


def report(
    found: dict[str, np.ndarray], model: TemporalMaeModel, config: ScoringSpeedConfig
) -> str:
    """Return the table under the conditions it was measured in."""
    hop, scoring = ScorerConfig().network_hop, model.examiner.config.scoring
    passes = scoring.time_passes + (2 if scoring.cue_passes else 0)
    delays = ", ".join(f"{(hop - 1) / rate:.2f} s at {rate} Hz" for rate in RATES)
    size = model.examiner.config.model
    facts = {
        **conditions(),
        "Threads": str(torch.get_num_threads()),
        "Model": f"{config.model}, d_model {size.d_model}, depth {size.depth}",
        "Batch": f"{config.windows} windows, {passes} mask passes each, in one batch",
        "Hop": f"every {hop}th window of a track; its terms are at most {delays} old",
    }
    lines = ["# Speed of the network", "", listed(facts), ""]
    lines += [
        "| engine | median ms a batch | least | ms a track and frame | torch / this |",
        "|---|---:|---:|---:|---:|",
    ]
    torch_ms = 1e3 * float(np.median(found["torch"]))
    for name, seconds in found.items():
        median, least = 1e3 * float(np.median(seconds)), 1e3 * float(seconds.min())
        each = median / config.windows / hop
        lines.append(
            f"| {name} | {median:.1f} | {least:.1f} | {each:.2f} | {torch_ms / median:.2f} |"
        )
    return "\n".join([*lines, ""])


def body(config: ScoringSpeedConfig) -> None:
    """Run the command."""
    if config.threads:
        torch.set_num_threads(config.threads)
    artifact = load_artifact(config.model)
    models: dict[str, TemporalMaeModel] = {}
    for name in ENGINES:
        try:
            models[name] = build_network_model(artifact, backend=name)
        except ValueError as error:  # no bfloat16, or no export
            print(f"{name} is left out: {error}", file=sys.stderr)
    text = report(measure(models, config.windows, config.rounds), models["torch"], config)
    print(text)
    if config.output:
        write_atomically(Path(config.output).expanduser(), text)


if __name__ == "__main__":
    sys.exit(
        run(
            ScoringSpeedConfig,
            body,
            description=__doc__,
            errors=(ArtifactError, ValueError, OSError),
        )
    )
