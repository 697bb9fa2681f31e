"""The plot of the speed report."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from tao_anomaly.atomic_file import write_atomically

Line = Sequence[tuple[float, float]]  # objects, milliseconds an image


def plot_speed(path: Path, lines: Mapping[str, Line], levels: Mapping[str, float]) -> list[Path]:
    """Write milliseconds an image over objects as .png and .svg beside `path`.

    levels: times that no object changes; one of the name of a line has its colour.
    """
    from matplotlib.figure import Figure  # only where figures are made; no display needed

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", lw=0.6)
    colours = {}
    for name, line in lines.items():
        x, y = zip(*sorted(line), strict=True)
        colours[name] = axes.plot(x, y, "o-", ms=4, lw=1.4, label=name)[0].get_color()
    for name, value in levels.items():
        axes.axhline(value, color=colours.get(name), lw=1, ls=":", label=f"{name}, bare forward")
    axes.set(xlabel="objects in the image", ylabel="ms an image, mean")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    written = []
    for suffix in (".png", ".svg"):
        content = io.BytesIO()
        figure.savefig(
            content,
            format=suffix[1:],
            dpi=150,
            metadata={"Date": None} if suffix == ".svg" else None,
        )
        written.append(path.with_suffix(suffix))
        write_atomically(written[-1], content.getvalue())
    return written
