"""Fit the cues that need no training on normal footage and save it as an artifact.

``python -m tao_anomaly.fit source=<folder, video or bag> output=<artifact folder>``
``python -m tao_anomaly.fit store=<what training/extract.py made> output=<artifact folder>``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from tao_anomaly.command_line import run
from tao_anomaly.config import CalibrationConfig, PipelineConfig, portable_settings, setting
from tao_anomaly.datasets.dataset import TRAIN
from tao_anomaly.extraction import perception_settings
from tao_anomaly.media.clip_file import StoreError
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.media.source import FrameSource, SourceError, open_clips
from tao_anomaly.model.artifact import ArtifactError, check_target, save_artifact
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.cues import KIND, Cues
from tao_anomaly.scoring.fitting import calibrate, describe
from tao_anomaly.scoring.normal_scores import ThresholdError
from tao_anomaly.scoring.split import cut_long_clips, split_clips
from tao_anomaly.structures import TrackFeatures
from tao_anomaly.weights import WeightsError

Clips = dict[str, list[TrackFeatures]]


@dataclass
class FitConfig:
    """Settings of the command."""

    source: str = setting(
        "", "normal footage: a video, an image folder, a bag, or a folder of such clips"
    )
    store: str = setting("", "in place of a source: feature store, its clips of the train split")
    output: str = setting("", "folder of the artifact")
    limit: int = setting(0, "most images read of each clip; 0: all", minimum=0)
    rate: float | None = setting(None, "frames a second of image folders")
    topic: str | None = setting(None, "image topic of a bag that has several")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)


def extract(clips: list[FrameSource], perception: Perception, *, limit: int = 0) -> Clips:
    """Return the tracked objects of every image of every clip, with a progress bar.

    limit: most images read of each clip; 0: all.
    """
    total = sum(min(filter(None, (clip.length, limit)), default=0) for clip in clips)
    found: Clips = {}
    with tqdm(total=total or None, unit="img", desc="normal footage") as bar:
        for clip in clips:
            perception.reset()
            images = found.setdefault(clip.name, [])
            for frame in islice(clip, limit or None):
                features = perception.process(frame)
                if features is not None:
                    images.append(features)
                bar.update()
    return found


def read_store(config: FitConfig) -> tuple[Clips, FeatureStore]:
    """Return a store and its clips of the train split; raises StoreError where none fits."""
    store = FeatureStore(config.store)
    names = store.clips(split=TRAIN)
    if not names:
        raise StoreError(f"{store.folder}: holds no clip of the split {TRAIN!r}; extract some")
    if not store.layout.classes:
        raise StoreError(
            f"{store.folder}: holds no class scores, expected one for each of the detector's"
            " classes: an older version made it; extract again"
        )
    precision = store.infos[names[0]].precision
    store.require_settings(perception_settings(config.pipeline), precision)
    return {name: store.read(name) for name in names}, store


def fit(clips: Clips, made_by: Perception | FeatureStore, config: FitConfig) -> str:
    """Fit on extracted clips, save the artifact, print what was found, return the model_id."""
    clips = cut_long_clips(clips)
    split = split_clips(list(clips), config.calibration)
    model = Cues.fit(
        [clips[name] for name in split.train],
        layout=made_by.layout,
        seed=config.calibration.seed,
        camera_motion=config.pipeline.tracker.camera_motion,
        windows=config.pipeline.windows,
    )
    calibration = calibrate(
        model,
        weights=model.weights,
        calibration_clips={name: clips[name] for name in split.calibration},
        check_clips={name: clips[name] for name in split.check},
        feature_id=made_by.feature_id,
        windows=config.pipeline.windows,
        scorer=config.pipeline.scorer,
        config=config.calibration,
    )
    model_id = save_artifact(
        Path(config.output).expanduser(),
        kind=KIND,
        feature_id=made_by.feature_id,
        layout=made_by.layout,
        config={**model.config(), "fitted_with": portable_settings(config.pipeline)},
        tensors=model.tensors(),
        calibration=calibration,
    )
    print(describe(calibration))
    print(f"model {model_id} saved to {config.output}")
    return model_id


def body(config: FitConfig) -> None:
    """Run the command."""
    if bool(config.source) == bool(config.store) or not config.output:
        raise SourceError(
            "give source=<normal footage> or store=<its features>, and output=<folder of the"
            " artifact>"
        )
    check_target(Path(config.output).expanduser())
    if config.store:
        fit(*read_store(config), config)
        return
    perception = Perception.from_config(config.pipeline)
    clips = open_clips(config.source, rate=config.rate, topic=config.topic)
    fit(extract(clips, perception, limit=config.limit), perception, config)


def main() -> int:
    """Run the command line."""
    errors = (SourceError, WeightsError, ArtifactError, ThresholdError, ValueError, OSError)
    return run(FitConfig, body, description=__doc__, errors=errors)


if __name__ == "__main__":
    sys.exit(main())
