"""Extract track features of datasets, videos, folders or bags into a feature store.

``python training/extract.py output=<store> dataset=ucsd_ped2 root=<folder>``
``python training/extract.py output=<store> source=<video, folder, bag, or a folder of those>``

Started again after an interruption, it goes on with the first clip that is not complete.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from tao_anomaly.command_line import unlocked
from tao_anomaly.config import PipelineConfig, setting, validate
from tao_anomaly.datasets.dataset import TRAIN, Clip, Dataset, DatasetError, Labels
from tao_anomaly.datasets.registry import DATASETS, load_dataset
from tao_anomaly.extraction import ENGINES, extract_clips
from tao_anomaly.media.clip_file import ClipInfo, StoreError
from tao_anomaly.media.source import SourceError, open_clips
from tao_anomaly.weights import WeightsError
from tao_anomaly.windows import FeatureMismatchError

SCHEMA = "extract_schema"
ERRORS = (DatasetError, FeatureMismatchError, SourceError, StoreError, ValueError, WeightsError)


@dataclass(frozen=True)
class ExtractConfig:
    """Settings of the command."""

    output: str = setting("", "folder of the feature store")
    dataset: str = setting("", f"a dataset: {', '.join(DATASETS)}", choices=("", *DATASETS))
    root: str = setting("", "the dataset's folder (custom: its YAML file)")
    splits: list[str] = field(
        default_factory=list, metadata={"description": "splits of the dataset; empty: all"}
    )
    source: str = setting(
        "", "normal footage in place of a dataset: video, folder, bag, or folder of those"
    )
    name: str = setting("footage", "what the clips of `source` are filed under")
    rate: float | None = setting(None, "frames a second of image folders")
    topic: str | None = setting(None, "image topic of a bag that has several")
    precision: str = setting(
        ClipInfo.precision,
        "of stored appearance and RoI grid: float16 loses nothing, for the extractor rounds to it",
        choices=("float16", "float32"),
    )
    batch: int = setting(
        1, "images of a clip in one forward pass: more pay on a GPU, not on a CPU", minimum=1
    )
    engine: str = setting("local", "local processes or Ray actors", choices=ENGINES)
    workers: int = setting(1, "processes or actors, a clip each at a time", minimum=1)
    ray_address: str = setting("", "Ray cluster; empty: one is started on this machine")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


def chosen_clips(config: ExtractConfig) -> list[tuple[str, Clip]]:
    """Return dataset name and clip of all clips asked for."""
    if bool(config.dataset) == bool(config.source):
        raise DatasetError("give either dataset=<name> root=<folder> or source=<footage>")
    dataset = (
        load_dataset(config.dataset, config.root)
        if config.dataset
        else footage(config.source, name=config.name, rate=config.rate, topic=config.topic)
    )
    splits = config.splits or dataset.splits
    return [(dataset.name, clip) for split in splits for clip in dataset.split(split)]


def footage(source: str, *, name: str, rate: float | None, topic: str | None) -> Dataset:
    """Return normal footage as a dataset, each clip named after its file or folder."""
    clips = []
    for opened in open_clips(source, rate=rate, topic=topic):
        path = Path(opened.name).resolve()
        clips.append(
            Clip(
                name=path.name if path.is_dir() else path.stem,
                split=TRAIN,
                source=path,
                labels=Labels(normal=True),
                stated_rate=rate if path.is_dir() else None,
                topic=topic,
            )
        )
    return Dataset(name=name, root=Path(source), clips=tuple(clips))


def extract(config: ExtractConfig) -> None:
    """Fill the store and say what it holds."""
    validate(config)
    if not config.output:
        raise StoreError("give output=<folder of the feature store>")
    store = extract_clips(
        config.output,
        chosen_clips(config),
        config=config.pipeline,
        precision=config.precision,
        batch=config.batch,
        engine=config.engine,
        workers=config.workers,
        ray_address=config.ray_address,
    )
    frames = sum(info.frames for info in store.infos.values())
    skipped = sum(sum(info.skipped.values()) for info in store.infos.values())
    print(
        f"{store.folder}: {len(store.clips())} clips, {frames} frames, {skipped} images skipped,"
        f" features {store.feature_id}"
    )


def main() -> None:
    """Run the command line."""
    ConfigStore.instance().store(name=SCHEMA, node=unlocked(ExtractConfig))
    hydra.main(version_base="1.3", config_path="../config/training", config_name="extract")(_main)()


def _main(values: DictConfig) -> None:
    config: Any = OmegaConf.to_object(values)
    try:
        extract(config)
    except ERRORS as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
