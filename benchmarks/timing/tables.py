"""The Markdown tables of the speed report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.timing.measure import Timing
from benchmarks.timing.stages import FORWARD, SCORING, Stopwatch


def comparison(timings: Sequence[Timing]) -> str:
    """Return each backend and the rival: forward, what lies beside it, all; ratios to the first.

    The model runs every so many images only: its share is of the means.
    """
    first = timings[0]
    lines = [
        "| | bare forward, median ms | CPU ms | beside forward and model / forward |"
        " model / forward, means | all, median ms | all, mean ms | images/s |"
        f" speed-up over {first.name} | lowest cosine |",
        "|---|" + "---:|" * 9,
    ]
    for timing in timings:
        whole = timing.watch.whole
        speed_up = np.median(first.watch.whole) / np.median(whole)
        lines.append(
            f"| {timing.name} | {_forward_cells(timing)} | {1e3 * np.median(whole):.1f} |"
            f" {1e3 * whole.mean():.1f} | {1 / whole.mean():.1f} | {speed_up:.2f} |"
            + (f" {timing.cosine:.6f} |" if timing.bare.seconds else " |")
        )
    return "\n".join(lines)


def _forward_cells(timing: Timing) -> str:
    if not timing.bare.seconds:
        return "| | |"
    bare, cpu = timing.bare.seconds[FORWARD], timing.bare.cpu_seconds[FORWARD]
    watch, forward = timing.watch, np.array(timing.watch.seconds[FORWARD])
    return (
        f"{1e3 * np.median(bare):.1f} | {1e3 * np.median(cpu):.1f} |"
        f" {np.median(watch.beside) / np.median(forward):.1%} |"
        f" {watch.model.mean() / forward.mean():.1%}"
    )


def table(watch: Stopwatch) -> str:
    """Return median, mean and 95th percentile of each stage, and its share of the forward."""
    rows = {
        **{stage: np.array(values) for stage, values in watch.seconds.items()},
        "all beside forward and scoring": watch.beside,
        "all beside the forward": watch.beside + watch.model,
        "all": watch.whole,
    }
    forward = rows[FORWARD]
    lines = [
        "| stage | median ms | mean ms | p95 ms | median / forward | mean / forward |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for stage, values in rows.items():
        median, mean, high = np.median(values), values.mean(), np.percentile(values, 95)
        lines.append(
            f"| {stage} | {1e3 * median:.2f} | {1e3 * mean:.2f} | {1e3 * high:.2f} |"
            f" {median / np.median(forward):.1%} | {mean / forward.mean():.1%} |"
        )
    return "\n".join(lines)


def crowd_table(found: Mapping[int, Sequence[Timing]], bares: Sequence[Timing]) -> str:
    """Return a row for each number of objects and backend, and the rival."""
    lines = [
        "| objects tracked, median | | forward, median ms | beside forward and scoring,"
        " median ms | scoring, mean ms | all, mean ms | images/s |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for timings in found.values():
        for timing in timings:
            watch, whole = timing.watch, timing.watch.whole
            cells = " | | "
            if FORWARD in watch.seconds:
                forward = np.median(watch.seconds[FORWARD])
                cells = f"{1e3 * forward:.1f} | {1e3 * np.median(watch.beside):.1f} | "
                cells += f"{1e3 * watch.model.mean():.1f}" if SCORING in watch.seconds else ""
            lines.append(
                f"| {np.median(timing.tracks):.0f} | {timing.name} | {cells} |"
                f" {1e3 * whole.mean():.1f} | {1 / whole.mean():.1f} |"
            )
    lines += ["", "Bare forward pass in turns with them, images/s: " + _rates(bares) + "."]
    return "\n".join(lines)


def _rates(timings: Sequence[Timing]) -> str:
    return ", ".join(f"{each.name} {1 / each.watch.whole.mean():.1f}" for each in timings)
