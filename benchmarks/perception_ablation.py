"""What settings of detector and tracker are worth: input size, parts, uncertain boxes.

``python benchmarks/perception_ablation.py dataset=ucsd_ped2``

Each row is the whole protocol with one setting changed: features of both splits, cues fitted on
training clips and calibrated on held-out ones, scores of the test clips. The temporal MAE is left
out: it would have to be trained for each row. Features are kept below `stores` and used again.
Writes <output>/perception_<dataset>.md.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"

# This checkout is evaluated, whatever is installed.
sys.path.insert(0, str(REPOSITORY))

from benchmarks.ablation import score, table  # noqa: E402
from benchmarks.conditions import conditions, listed  # noqa: E402
from tao_anomaly.atomic_file import write_atomically  # noqa: E402
from tao_anomaly.command_line import run  # noqa: E402
from tao_anomaly.config import PipelineConfig, setting  # noqa: E402
from tao_anomaly.datasets.dataset import TEST, TRAIN, Clip, Dataset  # noqa: E402
from tao_anomaly.datasets.registry import DATASETS, load_dataset  # noqa: E402
from tao_anomaly.evaluation.features import EvaluationStore  # noqa: E402
from tao_anomaly.evaluation.settings import EvaluateConfig  # noqa: E402
from tao_anomaly.fit import FitConfig, fit, read_store  # noqa: E402
from tao_anomaly.media.clip_file import ClipInfo  # noqa: E402
from tao_anomaly.model.artifact import load_artifact  # noqa: E402
from tao_anomaly.pipeline import Perception  # noqa: E402
from tao_anomaly.weights import SHARED_VARIABLE  # noqa: E402

TIMED_IMAGES = 120


@dataclass(frozen=True)
class PerceptionConfig:
    """Settings of the command."""

    dataset: str = setting("", f"a dataset: {', '.join(DATASETS)}", choices=("", *DATASETS))
    root: str = setting("", f"the dataset's folder; empty: ${SHARED_VARIABLE}/data")
    rows: list[str] = field(
        default_factory=list, metadata={"description": "rows to make; empty: all"}
    )
    stores: str = setting("outputs/perception", "folder of the rows' feature stores and models")
    output: str = setting("results", "folder of the result")
    limit: int = setting(0, "most clips of the test split, to try things; 0: all", minimum=0)


def variants() -> dict[str, PipelineConfig]:
    """Return the settings of each row, by its name.

    all boxes: each begins a track. confident boxes alone: those that are matched first do.
    """
    usual = PipelineConfig()
    detector, tracker = usual.detector, usual.tracker
    sizes = {
        f"input {size}": replace(usual, detector=replace(detector, input_size=size))
        for size in (480, 960)
    }
    return {
        "default": usual,
        **sizes,
        "all boxes": replace(
            usual, tracker=replace(tracker, new_track_confidence=detector.confidence)
        ),
        "confident boxes alone": replace(
            usual, tracker=replace(tracker, new_track_confidence=tracker.high_confidence)
        ),
        "parts kept": replace(usual, detector=replace(detector, part_overlap=1.0)),
        "moving objects": replace(usual, detector=replace(detector, moving_confidence=0.5)),
    }


def chosen(names: Sequence[str]) -> dict[str, PipelineConfig]:
    """Return those rows, all where there is no name; raises ValueError for one that is none."""
    rows = variants()
    unknown = sorted(set(names) - set(rows))
    if unknown:
        raise ValueError(f"rows: got {', '.join(unknown)}, expected some of {', '.join(rows)}")
    return {name: rows[name] for name in names or rows}


def row(
    name: str, pipeline: PipelineConfig, perception: Perception, dataset: Dataset, folder: Path
) -> dict[str, object]:
    """Return the metrics of one row; what is extracted already is not extracted again."""
    train, test = dataset.split(TRAIN), dataset.split(TEST)
    store = EvaluationStore(folder / "store", dataset=dataset.name, config=pipeline)
    store.prepare([*train, *test], feature_id=perception.feature_id, precision=ClipInfo.precision)
    config = FitConfig(store=str(folder / "store"), output=str(folder / "model"), pipeline=pipeline)
    fit(*read_store(config), config)
    artifact = load_artifact(folder / "model")
    weights = {name: artifact.calibration.weights}
    return score(test, artifact, store, pipeline, weights)[name]


def milliseconds(perceptions: dict[str, Perception], clip: Clip) -> dict[str, float]:
    """Return the median time an image of each row, image by image side by side."""
    spent: dict[str, list[float]] = {name: [] for name in perceptions}
    for frame in islice(clip.frames(), TIMED_IMAGES):
        for name, perception in perceptions.items():
            start = time.perf_counter()
            perception.process(frame)
            spent[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(times[1:])) for name, times in spent.items()}


def body(config: PerceptionConfig) -> None:
    """Run the command."""
    where = EvaluateConfig(dataset=config.dataset, root=config.root).dataset_root
    stores = Path(config.stores).expanduser()
    dataset = load_dataset(config.dataset, where, cache=stores / "labels" / config.dataset)
    dataset = limited(dataset, config.limit)
    rows = chosen(config.rows)
    perceptions = {name: Perception.from_config(pipeline) for name, pipeline in rows.items()}
    metrics = {}
    for name, pipeline in rows.items():
        folder = stores / name.replace(" ", "_")
        metrics[name] = row(name, pipeline, perceptions[name], dataset, folder)
    for name, spent in milliseconds(perceptions, dataset.split(TEST)[0]).items():
        metrics[name]["milliseconds"] = spent
    facts = {
        **conditions(),
        "Model": "cues, fitted and calibrated for each row",
        "Clips": f"{len(dataset.split(TEST))} of the test split",
        "ms": f"median of {TIMED_IMAGES - 1} images from image to features, rows in turns",
    }
    text = "\n".join(
        [f"# Perception on {dataset.name}", "", listed(facts), "", table(metrics, of="setting"), ""]
    )
    print(text)
    write_atomically(Path(config.output).expanduser() / f"perception_{dataset.name}.md", text)


def limited(dataset: Dataset, limit: int) -> Dataset:
    """Return the dataset with at most `limit` test clips, all of them for 0."""
    kept: Sequence[Clip] = dataset.split(TEST)[: limit or None]
    return replace(dataset, clips=(*dataset.split(TRAIN), *kept))


if __name__ == "__main__":
    if SHARED.is_dir():
        os.environ.setdefault(SHARED_VARIABLE, str(SHARED))
    sys.exit(run(PerceptionConfig, body, description=__doc__, errors=(ValueError, OSError)))
