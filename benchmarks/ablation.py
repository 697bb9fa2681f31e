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
from tao_anomaly.datasets.dataset import TEST, Clip  # noqa: E402
from tao_anomaly.datasets.registry import load_dataset  # noqa: E402
from tao_anomaly.evaluation.features import EvaluationStore  # noqa: E402
from tao_anomaly.evaluation.measure import PixelRows, box_metrics  # noqa: E402
from tao_anomaly.evaluation.pixel_map import BoxFill  # noqa: E402
from tao_anomaly.evaluation.rows import OWN, ModelRows  # noqa: E402
from tao_anomaly.evaluation.scored_clip import ScoredClip  # noqa: E402
from tao_anomaly.evaluation.settings import EvaluateConfig  # noqa: E402
from tao_anomaly.model.artifact import Artifact, load_artifact  # noqa: E402
from tao_anomaly.scoring.scorer import Scorer  # noqa: E402
from tao_anomaly.scoring.window_model import WindowModel, build_window_model  # noqa: E402
from tao_anomaly.structures import BoolArray, FloatArray, TrackWindows  # noqa: E402
from tao_anomaly.weights import SHARED_VARIABLE  # noqa: E402

NETWORK = "network"


class Recorded:
    """A model that computes each image's terms once, for all rows, and how long that took."""

    def __init__(self, model: WindowModel) -> None:
        self.model = model
        self.seconds = 0.0
        self.images = 0
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
            start = time.perf_counter()
            self._terms[windows.stamp_ns] = self.model.terms(windows, network)
            self.seconds += time.perf_counter() - start
            self.images += 1
        return self._terms[windows.stamp_ns]

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Those of the model."""
        return self.model.speeds(windows)


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
    clips: Sequence[Clip], artifact: Artifact, store: EvaluationStore, config: EvaluateConfig
) -> tuple[dict[str, dict[str, object]], float]:
    """Return the metrics of each row, and the milliseconds an image that the terms took."""
    model = Recorded(build_window_model(artifact))
    rows = {
        row: ModelRows(
            name=row,
            group=OWN,
            scorer=Scorer(
                model=model,
                calibration=replace(artifact.calibration, weights=weights),
                feature_id=artifact.feature_id,
                config=config.pipeline.scorer,
            ),
            windows=config.pipeline.windows,
            offline=False,
        )
        for row, weights in weightings(artifact, model.network_terms).items()
    }
    pixels = PixelRows(list(rows), outliner=BoxFill())
    scored: dict[str, dict[str, ScoredClip]] = {row: {} for row in rows}
    for clip in tqdm(clips, unit="clip"):
        model.begin()
        features = store.read(clip)
        of_clip = {row: contributor.score(clip, features)[row] for row, contributor in rows.items()}
        pixels.update(clip, of_clip)
        for row, found in of_clip.items():
            scored[row][clip.name] = found
    drawn = pixels.compute()
    metrics = {row: {**box_metrics(clips, found), **drawn[row]} for row, found in scored.items()}
    return metrics, 1e3 * model.seconds / max(1, model.images)


def table(metrics: dict[str, dict[str, object]]) -> str:
    """Return the rows as Markdown, in per cent."""
    lines = ["| terms | RBDC | TBDC | frame AUC | pixel AP |", "|---|---:|---:|---:|---:|"]
    for row, found in metrics.items():
        frame, pixel = found["frame"], found["pixel"]
        assert isinstance(frame, dict)
        average = pixel["average_precision"] if isinstance(pixel, dict) else float("nan")
        values = (found["rbdc"], found["tbdc"], frame["micro_auc"], average)
        lines.append(f"| {row} | " + " | ".join(f"{100 * float(v):.1f}" for v in values) + " |")  # type: ignore[arg-type]
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
    metrics, milliseconds = score(clips, artifact, features, config)
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
        "All terms together": f"{milliseconds:.1f} ms an image on this machine",
    }
    text = "\n".join([f"# Ablation on {dataset.name}", "", listed(facts), "", table(metrics), ""])
    print(text)
    path = Path(config.output).expanduser() / f"ablation_{config.result_name}.md"
    write_atomically(path, text)


if __name__ == "__main__":
    if SHARED.is_dir():
        os.environ.setdefault(SHARED_VARIABLE, str(SHARED))
    sys.exit(run(EvaluateConfig, body, description=__doc__, errors=(ValueError, OSError)))
