"""Show it all at work, on rendered scenes that need nothing from outside, or on a video.

``make demo``, ``make demo FAST=1``, or
``make demo VIDEO=<video, folder of images or bag> NORMAL=<normal footage> WEIGHTS=<YOLOv8 .pt>``;
``WEIGHTS_SHA256=<its SHA-256, or any>`` where the file is not known
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tao_anomaly.config import DetectorConfig
from tao_anomaly.nodes import graph
from tao_anomaly.nodes.demo.plaza_demo import PlazaDemo
from tao_anomaly.nodes.demo.stages import StageError
from tao_anomaly.nodes.demo.video_demo import chosen_detector, run_video

INTERRUPTED = 130


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="a model that needs no training")
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"), help="folder to make")
    parser.add_argument("--video", default="", help="what to score, in place of rendered scenes")
    parser.add_argument("--normal", default="", help="normal footage; default: the video's start")
    parser.add_argument("--weights", default="", help="YOLOv8 weights, a path or a model's name")
    parser.add_argument("--weights-sha256", default="", help="their SHA-256, or any to trust them")
    options = parser.parse_args()
    if options.normal and not options.video:
        parser.error("--normal (NORMAL=) is of a video: give --video (VIDEO=) too")
    graph.heed_signals()
    os.environ.update(graph.environment())
    # The demo is its own world: it neither hears nor disturbs the robots of this network.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        if options.video:
            detector = chosen_detector(options.weights, options.weights_sha256)
            return run_video(options.video, options.normal, detector, options.output)
        detector = DetectorConfig(
            weights=options.weights or PlazaDemo.detector.weights,
            weights_sha256=options.weights_sha256,
        )
        PlazaDemo(folder=options.output, fast=options.fast, detector=detector).run()
    except KeyboardInterrupt:
        print("demo: nothing runs any more; the next run uses what is done")
        return INTERRUPTED
    except (StageError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
