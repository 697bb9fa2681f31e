"""The report's timeline and curves as PNG and SVG figures for papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tao_anomaly.structures import AnomalyState
from tao_anomaly.visualization.colours import STATE_RGB
from tao_anomaly.visualization.findings import Finding
from tao_anomaly.visualization.recording import Recording
from tao_anomaly.visualization.series import timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 2000
_WIDTH = 7.0  # inches, a page of two columns
_SCORE = tuple(channel / 255 for channel in STATE_RGB[AnomalyState.NORMAL])
_ALARM = tuple(channel / 255 for channel in STATE_RGB[AnomalyState.ANOMALOUS])
_TRUTH = (0.8, 0.475, 0.655, 0.25)
# file, key of the curves, values of x and y with their titles
_CURVES = (
    ("rbdc", "region_track", ("fpr", "false positives a frame"), ("rbdr", "regions found")),
    ("tbdc", "region_track", ("fpr", "false positives a frame"), ("tbdr", "tracks found")),
    ("roc", "roc", ("fpr", "false-positive rate"), ("tpr", "true-positive rate")),
    ("pr", "pr", ("recall", "recall"), ("precision", "precision")),
)


def write_figures(
    folder: Path,
    recordings: Sequence[Recording],
    events: Sequence[Finding],
    curves: Mapping[str, Any],
) -> list[Path]:
    """Write ``timeline_<name>`` of each recording and the curves, if any, as .png and .svg."""
    written = []
    for recording in recordings:
        figure = timeline_figure(recording, [e for e in events if e.recording is recording])
        written += _save(figure, folder / f"timeline_{recording.name}")
    for name, key, x, y in _CURVES:
        drawn = {row: found[key] for row, found in curves.items() if found[key]}
        if drawn:
            written += _save(curve_figure(drawn, x, y), folder / name)
    return written


def timeline_figure(recording: Recording, events: Sequence[Finding]) -> Figure:
    """Return frame scores over seconds, with labels, threshold and the peaks of events."""
    figure, axes = _axes(2.0)
    line = timeline(recording, _POINTS)
    for first, last in recording.anomalous or ():
        axes.axvspan(first / recording.rate, (last + 1) / recording.rate, color=_TRUTH, lw=0)
    axes.plot(line.frames / recording.rate, line.thresholds, color="0.4", lw=0.8, ls=":")
    axes.plot(line.frames / recording.rate, line.scores, color=_SCORE, lw=1)
    peaks = [recording.table.frames[event.peak] / recording.rate for event in events]
    axes.plot(peaks, [event.score for event in events], "D", color=_ALARM, ms=4, clip_on=False)
    axes.set(xlabel="seconds", ylabel="frame score", title=recording.name)
    axes.margins(x=0)
    return figure


def curve_figure(
    rows: Mapping[str, Mapping[str, Sequence[float]]], x: tuple[str, str], y: tuple[str, str]
) -> Figure:
    """Return one curve a row, the first in bold; x, y: key and title of their values."""
    figure, axes = _axes(3.2)
    for i, (name, curve) in enumerate(rows.items()):
        style: dict[str, Any] = {"lw": 1, "ls": "--"}
        if i == 0:
            style = {"color": _SCORE, "lw": 2.2, "zorder": 3}
        axes.plot(np.array(curve[x[0]]), np.array(curve[y[0]]), label=name, **style)
    axes.set(xlabel=x[1], ylabel=y[1], xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _axes(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # only where figures are made; no display needed

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.title.set_fontsize(9)
    return figure, axes


def _save(figure: Figure, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".svg")]
    for path in paths:
        # Without its date the same figure is the same file.
        figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
