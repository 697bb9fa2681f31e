"""Results as JSON and as a Markdown table that can be included as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.evaluation.protocol import Card
from tao_anomaly.evaluation.rows import OWN, Row
from tao_anomaly.evaluation.scored_clip import ScoredClip

Json = dict[str, Any]
FORMAT_VERSION = 1
_NONE = "-"
_METRICS = (
    "rbdc",
    "tbdc",
    "frame_auc",
    "tao_auroc",
    "tao_average_precision",
    "tao_pr_auc",
    "tao_f1",
)

# Heading, and where the value lies in a row's metrics.
Column = tuple[str, tuple[str, ...]]
MAIN: tuple[Column, ...] = (
    ("RBDC", ("rbdc",)),
    ("TBDC", ("tbdc",)),
    ("frame AUC, micro", ("frame", "micro_auc")),
    ("frame AUC, macro", ("frame", "macro_auc")),
    ("frame AP", ("frame", "average_precision")),
    ("EER", ("frame", "eer")),
    ("pixel AUROC", ("pixel", "auroc")),
    ("pixel AP", ("pixel", "average_precision")),
    ("pixel AUPRO", ("pixel", "aupro")),
    ("pixel F1-max", ("pixel", "f1_max")),
)
TAO: tuple[Column, ...] = (
    ("pixel AUROC", ("pixel_tao", "auroc")),
    ("pixel AP", ("pixel_tao", "average_precision")),
    ("pixel PR-AUC (printed as AUPRO)", ("pixel_tao", "pr_auc")),
    ("pixel F1", ("pixel_tao", "f1")),
)
OPERATING: tuple[Column, ...] = tuple(
    (f"{kind} {rate}", ("operating_point", kind, rate))
    for kind in ("region_f1", "track_f1")
    for rate in ("f1", "precision", "recall")
)
# Where a published number stands in the tables.
_PUBLISHED: dict[tuple[str, ...], str] = {
    ("rbdc",): "rbdc",
    ("tbdc",): "tbdc",
    ("frame", "micro_auc"): "frame_auc",
    ("pixel_tao", "auroc"): "tao_auroc",
    ("pixel_tao", "average_precision"): "tao_average_precision",
    ("pixel_tao", "pr_auc"): "tao_pr_auc",
    ("pixel_tao", "f1"): "tao_f1",
}


@dataclass(frozen=True)
class Published:
    """A published row. metrics: in per cent, named as in published.yaml."""

    dataset: str
    method: str
    metrics: Mapping[str, float]
    source: str
    note: str = ""


def read_published(path: Path, dataset: str) -> list[Published]:
    """Return the published rows of a dataset; raises ValueError naming the entry that is wrong."""
    try:
        entries = yaml.safe_load(path.read_text("utf-8")) or []
        rows = [Published(**entry) for entry in entries]
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise ValueError(f"{path}: not readable as published results ({error})") from error
    for row in rows:
        unknown = sorted(set(row.metrics) - set(_METRICS))
        if unknown or not row.source:
            raise ValueError(
                f"{path}: {row.method} on {row.dataset}: got metrics {unknown or 'without source'},"
                f" expected those of {', '.join(_METRICS)}, and a source"
            )
    return [row for row in rows if row.dataset == dataset]


@dataclass(frozen=True)
class Report:
    """A finished evaluation. metrics: of each row, by its name."""

    name: str
    dataset: str
    rows: Sequence[Row]
    metrics: Mapping[str, Json]
    published: Sequence[Published]
    protocol: Card

    def to_json(self) -> str:
        """Return the document ``<name>.json``."""
        document = {
            "format": FORMAT_VERSION,
            "name": self.name,
            "dataset": self.dataset,
            "rows": [{**asdict(row), "metrics": self.metrics[row.name]} for row in self.rows],
            "published": [asdict(row) for row in self.published],
            "protocol": self.protocol,
        }
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def main_table(self) -> str:
        """Return the table of regions, tracks, frames and pixels."""
        return self._table(MAIN, self.rows, self.published)

    def to_markdown(self) -> str:
        """Return the document ``<name>.md``."""
        card = self.protocol
        parts = [
            f"### {self.name}",
            f"Made by {card['Command']} on {card['Date']}; {card['Machine']}. Per cent.",
            self.main_table(),
            "Published numbers are their authors' and were not reproduced here; their frame AUC may"
            " be micro or macro, and smoothed over the future.",
            "**Pixel metrics as the public TAO code computes them** (normal frames skipped by"
            " ground truth; not comparable with those above)",
            self._table(TAO, self.rows, self.published),
            "**At the calibrated threshold**",
            self._table(OPERATING, self.rows, ()),
            *self._kinds(),
            "**Rows**",
            "\n".join(f"- {row.name}: {row.note}" for row in self.rows)
            + "".join(
                f"\n- {row.method}: {row.source}{f' ({row.note})' if row.note else ''}"
                for row in self.published
            ),
            "**Protocol**",
            "\n".join(f"- {key}: {value}" for key, value in card.items()),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _kinds(self) -> tuple[str, ...]:
        """Return heading and table of each kind of anomaly, nothing where none is told."""
        by_row = {row.name: self.metrics[row.name].get("kinds") or {} for row in self.rows}
        kinds = sorted({kind for found in by_row.values() for kind in found})
        if not kinds:
            return ()
        lines = [f"| method | {' | '.join(kinds)} |", "|---|" + "---:|" * len(kinds)]
        for name, found in by_row.items():
            lines.append(f"| {name} | {' | '.join(_kind(found.get(k)) for k in kinds)} |")
        heading = (
            "**By kind of anomaly**: RBDC / TBDC; tracks alarmed of those there are, median delay"
            " of the alarm in seconds"
        )
        return heading, "\n".join(lines)

    def _table(
        self, columns: Sequence[Column], rows: Sequence[Row], published: Sequence[Published]
    ) -> str:
        """Return a table of the rows that have a value in it."""
        lines = [
            (f"**{row.name}**" if row.group == OWN else row.name, self._value(row.name))
            for row in rows
        ]
        lines += [(f"{row.method} (published)", _published_value(row)) for row in published]
        cells = [(name, [_percent(value(path)) for _, path in columns]) for name, value in lines]
        kept = [(name, values) for name, values in cells if set(values) != {_NONE}]
        if not kept:
            return "No row has one."
        header = "| method | " + " | ".join(heading for heading, _ in columns) + " |"
        rule = "|---|" + "---:|" * len(columns)
        return "\n".join([header, rule, *(f"| {n} | {' | '.join(v)} |" for n, v in kept)])

    def _value(self, name: str) -> Callable[[tuple[str, ...]], float | None]:
        def value(path: tuple[str, ...]) -> float | None:
            found: Any = self.metrics[name]
            for key in path:
                found = found.get(key) if found is not None else None
            return found

        return value


@dataclass(frozen=True)
class Evaluation:
    """A finished report, the test clips, and those of its first row with their scores.

    class_names: of the objects, as far as known. details: of ``details.json``.
    """

    report: Report
    clips: tuple[Clip, ...]
    own: Mapping[str, ScoredClip]
    class_names: Mapping[int, str]
    details: Json


def _published_value(row: Published) -> Callable[[tuple[str, ...]], float | None]:
    def value(path: tuple[str, ...]) -> float | None:
        found = row.metrics.get(_PUBLISHED.get(path, ""))
        return None if found is None else found / 100

    return value


def _kind(found: Json | None) -> str:
    if found is None:
        return _NONE
    areas = f"{_percent(found['rbdc'])} / {_percent(found['tbdc'])}"
    if found["alarmed"] is None:
        return areas
    delay = "" if found["delay"] is None else f", {found['delay']:.1f} s"
    return f"{areas}; {found['alarmed']} of {found['tracks']}{delay}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f}"
