"""What the normal footage of a generated Plaza folder holds, from its ground truth.

``python benchmarks/plaza_statistics.py root=<folder> [output=<.md file>]``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # this checkout is measured, whatever is installed

from benchmarks.conditions import conditions, listed  # noqa: E402
from tao_anomaly.atomic_file import write_atomically  # noqa: E402
from tao_anomaly.command_line import run  # noqa: E402
from tao_anomaly.config import setting  # noqa: E402
from tao_anomaly.datasets.dataset import TRAIN, DatasetError  # noqa: E402
from tao_anomaly.datasets.plaza.crowd import STEP  # noqa: E402
from tao_anomaly.datasets.plaza.dataset import (  # noqa: E402
    DESCRIPTION,
    load_plaza,
    objects_file,
)
from tao_anomaly.datasets.plaza.generate import PlazaConfig, scenes  # noqa: E402
from tao_anomaly.metrics.text_formats import read_region_tracks  # noqa: E402

_STANDS = 0.2  # m/s, below which somebody stands
_LEAST_STOP = 1.0  # s


@dataclass(frozen=True)
class StatisticsConfig:
    """Settings of the command."""

    root: str = setting("", "folder that python -m tao_anomaly.datasets.plaza made")
    output: str = setting("", "Markdown file to write; empty: only print")


def seen(root: Path, rate: float) -> dict[str, np.ndarray]:
    """Return samples of what the boxes of the train split say, by name."""
    people, heights, durations = [], [], []
    for clip in load_plaza(root).split(TRAIN):
        regions = read_region_tracks(objects_file(root, clip.name), clip_length=clip.frame_count)
        people.append(np.bincount(regions.frames, minlength=clip.frame_count))
        heights.append(regions.boxes[:, 3] - regions.boxes[:, 1] + 1)
        durations.append(np.unique(regions.track_ids, return_counts=True)[1] / rate)
    return {
        "people seen in a frame": np.concatenate(people),
        "height of a box, pixels": np.concatenate(heights),
        "time a person is seen, s": np.concatenate(durations),
    }


def walked(config: PlazaConfig) -> dict[str, np.ndarray]:
    """Return samples of what the plans of the train split say, by name."""
    paces, stops = [], []
    for _, split, scene in scenes(config):
        for actor in scene.actors if split == TRAIN else ():
            pace = np.diff(actor.path.travelled) / STEP
            paces.append(pace[pace >= _STANDS])
            stops.append(_longest_stop(pace))
    stop = np.array(stops)
    return {
        "speed of who moves, m/s": np.concatenate(paces),
        "longest stop of who stops, s": stop[stop >= _LEAST_STOP],
        "people who stop, share": (stop >= _LEAST_STOP).astype(float),
    }


def _longest_stop(pace: np.ndarray) -> float:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pace < _STANDS, [0]])))
    return float((edges[1::2] - edges[::2]).max(initial=0)) * STEP


def report(config: StatisticsConfig) -> str:
    """Return the report as Markdown; raises DatasetError where `root` is no Plaza folder."""
    root = Path(config.root).expanduser()
    dataset = load_plaza(root)
    described = yaml.safe_load((root / DESCRIPTION).read_text("utf-8"))["settings"]
    known = {field.name for field in fields(PlazaConfig)}
    settings = PlazaConfig(**{key: value for key, value in described.items() if key in known})
    samples = {**seen(root, settings.rate), **walked(settings)}
    footage = (
        f"{len(dataset.split(TRAIN))} clips of {settings.seconds:g} s,"
        f" {settings.rate:g} frames a second, {settings.width}x{settings.height},"
        f" density {settings.density:g}, seed {settings.seed}"
    )
    lines = [
        "# Normal footage of Plaza",
        "",
        listed({**conditions(), "Footage": footage}),
        "",
        "| quantity | samples | mean | deviation | 1 % | median | 99 % |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, values in samples.items():
        if not len(values):
            continue
        low, middle, high = np.percentile(values, [1, 50, 99])
        figures = (values.mean(), values.std(), low, middle, high)
        row = " | ".join(f"{value:.2f}" for value in figures)
        lines.append(f"| {name} | {len(values)} | {row} |")
    return "\n".join([*lines, ""])


def body(config: StatisticsConfig) -> None:
    """Run the command."""
    text = report(config)
    print(text)
    if config.output:
        write_atomically(Path(config.output).expanduser(), text)


if __name__ == "__main__":
    sys.exit(run(StatisticsConfig, body, description=__doc__, errors=(DatasetError, OSError)))
