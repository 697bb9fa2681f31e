"""Score a video, image folder, bag or camera: a table of scores and an annotated video.

``python -m tao_anomaly.infer source=<video, folder, bag or camera index> model=<artifact folder>``
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from tao_anomaly.command_line import run
from tao_anomaly.config import PipelineConfig, setting
from tao_anomaly.media.score_table import LATENCY_FILE, ScoreTableWriter
from tao_anomaly.media.source import FrameSource, SourceError, open_source
from tao_anomaly.media.video_writer import VideoWriter
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.pipeline import Pipeline
from tao_anomaly.structures import EventPhase
from tao_anomaly.visualization.history import SceneHistory
from tao_anomaly.visualization.overlay import draw_overlay
from tao_anomaly.weights import WeightsError
from tao_anomaly.windows import FeatureMismatchError


@dataclass
class InferConfig:
    """Settings of the command."""

    source: str = setting("", "video, image folder, bag or camera index")
    model: str = setting("", "folder of the artifact")
    output: str = setting("outputs", "folder of the results")
    video: bool = setting(True, "whether to write the annotated video")
    limit: int = setting(
        0, "most images read; 0: all. A camera runs until then or until Ctrl-C", minimum=0
    )
    rate: float | None = setting(None, "frames a second of an image folder")
    topic: str | None = setting(None, "image topic of a bag that has several")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


def infer(source: FrameSource, pipeline: Pipeline, config: InferConfig) -> tuple[int, int]:
    """Score the images of a source into ``scores.parquet`` and ``overlay.mp4``.

    Returns the number of images scored and of events started. Ctrl-C ends the source early.
    """
    names = pipeline.perception.class_names
    output = Path(config.output).expanduser()
    total = min(filter(None, (source.length, config.limit or None)), default=None)
    images = events = 0
    history = SceneHistory()
    latency: list[float] = []
    with ExitStack() as stack:
        table = stack.enter_context(
            ScoreTableWriter(
                output / "scores.parquet",
                class_names=names,
                model_id=pipeline.scorer.model_id,
                source=str(Path(config.source).expanduser().resolve()),
                rate=source.rate,
            )
        )
        video = VideoWriter(output / "overlay.mp4", rate=source.rate) if config.video else None
        if video:
            stack.enter_context(video)
        bar = stack.enter_context(tqdm(total=total, unit="img", desc=source.name))
        stack.enter_context(suppress(KeyboardInterrupt))
        for frame in islice(source, config.limit or None):
            bar.update()
            began = time.perf_counter()
            result = pipeline.process(frame)
            seconds = time.perf_counter() - began
            if result is None:
                continue
            images += 1
            events += sum(e.phase == EventPhase.START for e in result.events)
            table.write(frame.index, result.scores)
            latency.append(round(seconds, 5))
            if video:
                history.update(result.scores, result.events)
                video.write(draw_overlay(frame.image, result.scores, names, history))
            bar.set_postfix(tracks=len(result.scores.tracks), events=events, refresh=False)
    # Apart from the table, which is the same whenever the same footage is scored.
    (output / LATENCY_FILE).write_text(json.dumps(latency), encoding="utf-8")
    return images, events


def body(config: InferConfig) -> None:
    """Run the command."""
    if not config.source or not config.model:
        raise SourceError("give source=<what to score> and model=<folder of an artifact>")
    source = open_source(config.source, rate=config.rate, topic=config.topic)
    artifact = load_artifact(config.model)
    pipeline = Pipeline.from_config(config.pipeline, artifact=artifact)
    images, events = infer(source, pipeline, config)
    skipped = pipeline.perception.skipped.total() + source.skipped
    print(f"{images} images scored, {skipped} skipped, {events} events; results in {config.output}")


def main() -> int:
    """Run the command line."""
    errors = (SourceError, WeightsError, ArtifactError, FeatureMismatchError, ValueError, OSError)
    return run(InferConfig, body, description=__doc__, errors=errors)


if __name__ == "__main__":
    sys.exit(main())
