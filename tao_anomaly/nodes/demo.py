"""The main job on a video: fits a model on normal footage if there is none, then runs the graph.

``make demo VIDEO=<video, folder of images or bag> NORMAL=<normal footage> WEIGHTS=<YOLOv8 .pt>``
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import sys
from pathlib import Path

from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.fit import FitConfig, extract, fit
from tao_anomaly.media.source import SourceError, open_clips
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.nodes import graph
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.normal_scores import ThresholdError
from tao_anomaly.weights import SHARED_VARIABLE, WeightsError, find_weights

OUTPUT = Path("outputs/demo")
# Images of each normal clip that the demo fits on: enough to see it work, quick enough to wait for.
CLIP_IMAGES = 60  # of each of Ped2's training clips
VIDEO_IMAGES = 300  # of a video of the user's own


def choose_footage(video: str, normal: str) -> tuple[str, str, int]:
    """Return the video, the normal footage and the most images of each of its clips.

    Raises SourceError saying what to give where there is no video.
    """
    shared = os.environ.get(SHARED_VARIABLE, "")
    ped2 = Path(shared or ".", "data", "UCSDped2")
    if video:
        return video, normal or video, VIDEO_IMAGES
    if shared and ped2.is_dir():
        return str(ped2 / "Test" / "Test004"), normal or str(ped2 / "Train"), CLIP_IMAGES
    looked = f"{ped2} is not there" if shared else f"{SHARED_VARIABLE} is not set"
    raise SourceError(
        f"no video: {looked}. Give your own with `make demo VIDEO=<video, folder of images or"
        f" bag>`, or set {SHARED_VARIABLE} to a folder that holds data/UCSDped2 (Train and Test of"
        " the UCSD Ped2 dataset)"
    )


def choose_weights(weights: str) -> Path:
    """Return the weights file; raises WeightsError saying what to give where there is none."""
    try:
        return find_weights(weights or DetectorConfig().weights)
    except WeightsError as error:
        raise WeightsError(f"{error}: make demo WEIGHTS=<file>") from error


def model_for(normal: str, weights: Path, limit: int) -> Path:
    """Return the folder of a model fitted on `normal`; fits it where it is absent or outdated."""
    key = hashlib.sha256(f"{Path(normal).resolve()}|{limit}".encode()).hexdigest()[:8]
    folder = OUTPUT / f"model-{key}"
    pipeline = PipelineConfig(detector=DetectorConfig(weights=str(weights)))
    perception = Perception.from_config(pipeline)
    try:
        if load_artifact(folder).feature_id == perception.feature_id:
            print(f"demo: using the model in {folder}")
            return folder
    except ArtifactError:
        pass
    words = [f"source={normal}", f"output={folder}", f"limit={limit}"]
    say(
        f"fitting a model on {normal}, up to {limit} images a clip, taken as normal",
        ["python", "-m", "tao_anomaly.fit", *words, f"pipeline.detector.weights={weights}"],
    )
    config = FitConfig(source=normal, output=str(folder), limit=limit, pipeline=pipeline)
    fit(extract(open_clips(normal), perception, limit=limit), perception, config)
    return folder


def run_graph(video: str, weights: Path, model: Path) -> int:
    """Run the nodes in processes of their own on all images of the video, as fast as they can."""
    record = OUTPUT / "overlay.mp4"
    record.unlink(missing_ok=True)
    arguments = ["--model", str(model), "--detector-weights", str(weights), "--source", video]
    arguments += ["--lock-step", "--record", str(record)]
    command = ["python", "-m", "tao_anomaly.nodes.graph", *arguments]
    say(f"running the ROS 2 graph on {video}", command)
    status = graph.run(graph.parse(arguments))
    if record.exists():
        print(f"demo: the annotated video is {record}")
    return status


def say(what: str, command: list[str]) -> None:
    """Print what happens next and the command that does the same."""
    print(f"demo: {what}\n  $ {shlex.join(command)}", flush=True)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--video", default="", help="what to score")
    parser.add_argument("--normal", default="", help="normal footage; default: the video's start")
    parser.add_argument("--weights", default="", help="YOLOv8 weights, a path or a model's name")
    options = parser.parse_args()
    try:
        video, normal, limit = choose_footage(options.video, options.normal)
        weights = choose_weights(options.weights)
        return run_graph(video, weights, model_for(normal, weights, limit))
    except (SourceError, WeightsError, ArtifactError, ThresholdError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
