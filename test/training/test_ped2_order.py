"""On real footage: a model knows the order of things in clips it has not seen."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.media.source import open_source
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.split import Split
from tao_anomaly.structures import TrackFeatures
from training.fit import Footage, fit
from training.settings import TrainRun

CLIPS = ("Train002", "Train003", "Train005")
FRAMES = 40


@pytest.mark.slow
def test_shuffled_windows_of_a_check_clip_score_higher(
    ped2: Path, detector: Detector, tiny_run: TrainRun, tmp_path: Path
) -> None:
    perception = Perception.from_config(PipelineConfig(), detector=detector)

    def images(clip: str) -> list[TrackFeatures]:
        perception.reset()
        frames = islice(open_source(ped2 / "Train" / clip), FRAMES)
        return [found for frame in frames if (found := perception.process(frame)) is not None]

    footage = Footage(
        clips={clip: images(clip) for clip in CLIPS},
        layout=perception.layout,
        feature_id=perception.feature_id,
    )
    run = replace(
        tiny_run,
        output=str(tmp_path),
        model=replace(tiny_run.model, components=16),
        train=replace(tiny_run.train, epochs=15),
    )
    split = Split(train=CLIPS[:1], calibration=CLIPS[1:2], check=CLIPS[2:])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        report = fit(footage, split, run, Accelerator(cpu=True)).report
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    assert report["shuffled_auc"] > 0.7
