"""All stages of several cameras in one process, with one detector for those of equal settings.

``python -m tao_anomaly.nodes.cameras_node <cameras.yaml>``
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rclpy.utilities import remove_ros_args

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.shared_detector import SharedDetector
from tao_anomaly.detection.ultralytics_adapter import torch_device
from tao_anomaly.nodes import topics
from tao_anomaly.nodes.cameras import Camera, read_cameras
from tao_anomaly.nodes.pipeline_node import PipelineNode
from tao_anomaly.nodes.stage_node import StageNode, run_all

_CUDA_BATCH = 8  # images at once; a CPU is no faster with several


class SharedDetectors:
    """One detector for each setting of it that cameras ask for."""

    def __init__(self) -> None:
        self._detectors: dict[DetectorConfig, SharedDetector] = {}

    def __call__(self, config: DetectorConfig) -> Detector:
        """Return the detector of these settings, loaded once."""
        if config not in self._detectors:
            on_cuda = torch_device(config.device).type == "cuda"
            self._detectors[config] = SharedDetector(
                Detector.from_config(config), max_batch=_CUDA_BATCH if on_cuda else 1
            )
        return self._detectors[config]


def node_arguments(camera: Camera) -> list[str]:
    """Return the ROS arguments of a camera's own node; they come before those of the process."""
    words = ["--ros-args", "-r", f"__ns:=/{camera.namespace}"]
    words += ["-r", f"{topics.IMAGE}:={camera.image_topic}"]
    if camera.params_file:
        words += ["--params-file", camera.params_file]
    given: dict[str, Any] = {
        "image_transport": camera.image_transport,
        "model": camera.model,
        "detector.weights": camera.detector_weights,
        "detector.weights_sha256": camera.detector_weights_sha256,
        "detector.device": camera.device,
    }
    for name, value in given.items():
        words += ["-p", f"{name}:={value}"] if value else []
    return words


def main() -> int:
    """Run the nodes of all cameras."""
    parser = argparse.ArgumentParser(prog="cameras_node", description=__doc__)
    parser.add_argument("cameras", help="YAML file of cameras")
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    detectors = SharedDetectors()

    def make_nodes() -> list[StageNode]:
        cameras = read_cameras(options.cameras).cameras
        return [
            PipelineNode(make_detector=detectors, cli_args=node_arguments(camera))
            for camera in cameras
        ]

    return run_all(make_nodes)


if __name__ == "__main__":
    sys.exit(main())
