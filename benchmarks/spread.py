"""Mean and spread of evaluations that differ in their seed alone.

``python benchmarks/spread.py RESULT.json RESULT.json ... --output TABLE.md``

Reads what benchmarks/evaluate.py wrote, the model's own causal row of each. Seeds are set when a
model is made: ``train.seed=N calibration.seed=N`` in training/train.py, ``calibration.seed=N`` in
tao_anomaly.fit. The calibration seed also says which clips train and which calibrate.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]

# This checkout is used, whatever is installed.
sys.path.insert(0, str(REPOSITORY))

from benchmarks.conditions import conditions, listed  # noqa: E402
from tao_anomaly.atomic_file import write_atomically  # noqa: E402
from tao_anomaly.evaluation.report import MAIN, TAO  # noqa: E402
from tao_anomaly.evaluation.rows import OWN  # noqa: E402

COLUMNS = (*MAIN, *((f"TAO {heading}", keys) for heading, keys in TAO))


def read(path: Path) -> np.ndarray:
    """Return the metrics of the model's own causal row in per cent, NaN where one is missing.

    Raises ValueError where the file is no evaluation.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))["rows"]
        own = next(row for row in rows if row["group"] == OWN and row["causal"])
        return np.array([100 * _value(own["metrics"], keys) for _, keys in COLUMNS])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"{path}: not readable as an evaluation's JSON ({error!r})") from error


def table(results: dict[str, np.ndarray]) -> str:
    """Return the results, their mean and their sample deviation as Markdown; at least two."""
    values = np.stack(list(results.values()))
    rows = {
        **results,
        "**mean**": values.mean(axis=0),
        "**deviation**": values.std(axis=0, ddof=1),
    }
    headings = [heading for heading, _ in COLUMNS]
    lines = [f"| result | {' | '.join(headings)} |", "|---" * (1 + len(headings)) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
    return "\n".join(lines)


def _value(metrics: dict[str, Any], keys: tuple[str, ...]) -> float:
    found: Any = metrics
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return float("nan") if found is None else float(found)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="JSON files of evaluations")
    parser.add_argument("--output", required=True, type=Path, help="Markdown file to write")
    words = parser.parse_args()
    if len(words.results) < 2:
        parser.error("got one result, expected at least two: one has no spread")
    try:
        found = {path.stem: read(path) for path in words.results}
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = "\n".join(["# Spread over seeds", "", listed(conditions()), "", table(found), ""])
    print(text)
    write_atomically(words.output, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
