"""What each term of a model's score is worth: each alone, all, all but one.

``python benchmarks/ablation.py dataset=ucsd_ped2 model=<artifact> store=<feature store>``

The same settings as benchmarks/evaluate.py. Each row is one pass over the test clips with other
weights and nothing else changed, so the rows are no choice among results. Writes
<output>/ablation_<name>.md.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"

# This checkout is evaluated, whatever is installed.
sys.path.insert(0, str(REPOSITORY))

from benchmarks.conditions import conditions, listed  # noqa: E402
from tao_anomaly.atomic_file import write_atomically  # noqa: E402
from tao_anomaly.command_line import run  # noqa: E402
from tao_anomaly.config import PipelineConfig  # noqa: E402
from tao_anomaly.datasets.dataset import TEST, Clip  # noqa: E402
from tao_anomaly.datasets.registry import load_dataset  # noqa: E402
from tao_anomaly.evaluation.features import EvaluationStore  # noqa: E402
from tao_anomaly.evaluation.measure import PixelRows, box_metrics  # noqa: E402
from tao_anomaly.evaluation.pixel_map import FadingBox  # noqa: E402
from tao_anomaly.evaluation.rows import OWN, ModelRows  # noqa: E402
from tao_anomaly.evaluation.scored_clip import ScoredClip  # noqa: E402
from tao_anomaly.evaluation.settings import EvaluateConfig  # noqa: E402
from tao_anomaly.model.artifact import Artifact, load_artifact  # noqa: E402
from tao_anomaly.scoring.cues import Cues  # noqa: E402
from tao_anomaly.scoring.scorer import Scorer  # noqa: E402
from tao_anomaly.scoring.window_model import (  # noqa: E402
    JoinedModel,
    WindowModel,
    build_window_model,
)
from tao_anomaly.structures import BoolArray, FloatArray, TrackWindows  # noqa: E402
from tao_anomaly.weights import SHARED_VARIABLE  # noqa: E402

NETWORK = "network"


class Recorded:
    """A model that computes each image's terms once, for all rows, and how long each part took.

    A part is a cue, or a member of the model that is none (its network).
    """

    def __init__(self, model: WindowModel) -> None:
        self.model = model
        self.images = 0
        self._parts = parts(model)
        self._seconds = dict.fromkeys(self.term_names, 0.0)
        self._terms: dict[int, FloatArray] = {}

    @property
    def term_names(self) -> tuple[str, ...]:
        """Those of the model."""
        return self.model.term_names

    @property
    def network_terms(self) -> tuple[str, ...]:
        """Those of the model."""
        return self.model.network_terms

    def begin(self) -> None:
        """Forget the images of the last clip."""
        self._terms.clear()

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        """Return the model's terms; which windows a network runs on is the same in every row."""
        if windows.stamp_ns not in self._terms:
            self._terms[windows.stamp_ns] = np.concatenate(
                [self._timed(part, windows, network) for part in self._parts], axis=1
            )
            self.images += 1
        return self._terms[windows.stamp_ns]

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Those of the model."""
        return self.model.speeds(windows)

    def milliseconds(self, weights: Sequence[float]) -> float:
        """Return what the parts with a weighted term took an image."""
        used = {name for name, weight in zip(self.term_names, weights, strict=True) if weight}
        spent = sum(
            self._seconds[part.term_names[0]]
            for part in self._parts
            if used.intersection(part.term_names)
        )
        return 1e3 * spent / max(1, self.images)

    def _timed(
        self, part: WindowModel, windows: TrackWindows, network: BoolArray | None
    ) -> FloatArray:
        start = time.perf_counter()
        found = part.terms(windows, network)
        self._seconds[part.term_names[0]] += time.perf_counter() - start
        return found


def parts(model: WindowModel) -> list[WindowModel]:
    """Return the models of which the terms side by side are those of a model."""
    if isinstance(model, JoinedModel):
        return [part for member in model.members for part in parts(member)]
    if isinstance(model, Cues):
        return [replace(model, term_names=(name,)) for name in model.term_names]
    return [model]


def weightings(artifact: Artifact, network: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the weights of the terms in each row, by the row's name."""
    names, full = artifact.calibration.term_names, np.array(artifact.calibration.weights)
    groups = {name: np.array([n == name for n in names]) for name in names}
    if network:
        groups[f"the {NETWORK}"] = np.isin(names, network)
    rows = {"all": full}
    rows |= {f"{name} alone": full * held for name, held in groups.items()}
    parts = {name: held for name, held in groups.items() if name not in network}
    rows |= {f"all but {name}": full * ~held for name, held in parts.items()}
    return {row: tuple(weights.tolist()) for row, weights in rows.items() if weights.any()}


def score(
    clips: Sequence[Clip],
    artifact: Artifact,
    store: EvaluationStore,
    config: PipelineConfig,
    weights: dict[str, tuple[float, ...]] | None = None,
) -> dict[str, dict[str, object]]:
    """Return the metrics of each row, with the milliseconds an image that its terms took.

    weights: of the terms in each row; those of `weightings` where None.
    """
    model = Recorded(build_window_model(artifact))
    weights = weights or weightings(artifact, model.network_terms)
    rows = {
        row: ModelRows(
            name=row,
            group=OWN,
            scorer=Scorer(
                model=model,
                calibration=replace(artifact.calibration, weights=of_row),
                feature_id=artifact.feature_id,
                config=config.scorer,
            ),
            windows=config.windows,
            offline=False,
        )
        for row, of_row in weights.items()
    }
    pixels = PixelRows(list(rows), outliner=FadingBox())
    scored: dict[str, dict[str, ScoredClip]] = {row: {} for row in rows}
    for clip in tqdm(clips, unit="clip"):
        model.begin()
        features = store.read(clip)
        of_clip = {row: contributor.score(clip, features)[row] for row, contributor in rows.items()}
        pixels.update(clip, of_clip)
        for row, found in of_clip.items():
            scored[row][clip.name] = found
    drawn = pixels.compute()
    return {
        row: {
            **box_metrics(clips, found),
            **drawn[row],
            "milliseconds": model.milliseconds(weights[row]),
        }
        for row, found in scored.items()
    }


def table(metrics: dict[str, dict[str, object]], *, of: str = "terms") -> str:
    """Return the rows as Markdown, in per cent and milliseconds an image."""
    lines = [
        f"| {of} | RBDC | TBDC | frame AUC | pixel AP | ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row, found in metrics.items():
        frame, pixel = found["frame"], found["pixel"]
        assert isinstance(frame, dict)
        average = pixel["average_precision"] if isinstance(pixel, dict) else float("nan")
        values = (found["rbdc"], found["tbdc"], frame["micro_auc"], average)
        cells = [f"{100 * float(v):.1f}" for v in values]  # type: ignore[arg-type]
        cells.append(f"{float(found['milliseconds']):.2f}")  # type: ignore[arg-type]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def body(config: EvaluateConfig) -> None:
    """Run the command."""
    if not config.store or not config.model:
        raise ValueError("give model=<artifact> and store=<feature store of the dataset>")
    artifact = load_artifact(config.model)
    store = Path(config.store).expanduser()
    dataset = load_dataset(
        config.dataset, config.dataset_root, cache=store / "labels" / config.dataset
    )
    clips = dataset.split(TEST)[: config.limit or None]
    features = EvaluationStore(store, dataset=dataset.name, config=config.pipeline)
    features.prepare(clips, feature_id=artifact.feature_id, precision=config.precision)
    metrics = score(clips, artifact, features, config.pipeline)
    facts = {
        **conditions(),
        "Date": config.today,
        "Model": f"{artifact.kind} {artifact.model_id} on features {artifact.feature_id}",
        "Clips": f"{len(clips)} of the test split",
        "Weights": ", ".join(
            f"{name} {weight:g}"
            for name, weight in zip(
                artifact.calibration.term_names, artifact.calibration.weights, strict=True
            )
        ),
        "ms": "time of the row's terms an image, measured in one pass over all clips",
    }
    text = "\n".join([f"# Ablation on {dataset.name}", "", listed(facts), "", table(metrics), ""])
    print(text)
    path = Path(config.output).expanduser() / f"ablation_{config.result_name}.md"
    write_atomically(path, text)


if __name__ == "__main__":
    if SHARED.is_dir():
        os.environ.setdefault(SHARED_VARIABLE, str(SHARED))
    sys.exit(run(EvaluateConfig, body, description=__doc__, errors=(ValueError, OSError)))
