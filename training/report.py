"""The report of a training run: JSON for machines, Markdown for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.fitting import describe
from training.evaluation import MAE

COLLAPSED = 0.02  # a spread below it says that the model gives the same answer to everything


def write_report(
    folder: Path, *, model_id: str, found: dict[str, Any], calibration: Calibration
) -> str:
    """Write report.json and report.md into `folder`, return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_id": model_id, **found, "calibration": calibration.evidence}
    text = render(model_id, found, calibration)
    (folder / "report.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    (folder / "report.md").write_text(text)
    return text


def render(model_id: str, found: dict[str, Any], calibration: Calibration) -> str:
    """Return the report as Markdown."""
    rate = found["steps_per_second"]
    speed = f" ({rate:.2f} a second)" if rate else ""
    threshold = describe(calibration)
    lines = [
        f"# Temporal MAE {model_id}",
        "",
        f"Trained on {found['training_windows']} windows in {found['steps']} steps{speed}.",
        "",
        f"{threshold[:1].upper()}{threshold[1:]}.",
        "",
        f"## Hidden tokens of the check clips ({found['check_windows']} windows)",
        "",
        "Mean squared error of standardised values; 1 is the variance of the training data.",
        "",
        *_table(found["reconstruction"]),
        "",
        *warnings(found),
        f"Windows with shuffled steps against real ones: AUC {found['shuffled_auc']:.3f} (0.5 is"
        " chance).",
        "",
        "Spread of what the model says of them (0 collapsed, 1 as the data): "
        + ", ".join(f"{name} {value:.3f}" for name, value in found["spread"].items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def warnings(found: dict[str, Any]) -> list[str]:
    """Return what is wrong with a model, a paragraph each."""
    problems = []
    for what, errors in found["reconstruction"].items():
        better = [name for name in errors if errors[name] < errors[MAE]]
        if better:
            problems += [f"**{what}: {' and '.join(better)} predict better than the model.**", ""]
    for name, value in found["spread"].items():
        if value < COLLAPSED:
            problems += [f"**{name} is {value:.3f}: the model has collapsed.**", ""]
    return problems


def _table(errors: dict[str, dict[str, float]]) -> list[str]:
    names = list(next(iter(errors.values())))
    return [
        "| hidden tokens | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(
            f"| {what} | " + " | ".join(f"{row[name]:.3f}" for name in names) + " |"
            for what, row in errors.items()
        ),
    ]
