"""Node of the first stage: images in, tracked objects with features out."""

from __future__ import annotations

import sys

import numpy as np
from std_msgs.msg import Header

from tao_anomaly.config import DetectorConfig, FeatureConfig, PipelineConfig, TrackerConfig
from tao_anomaly.nodes.image_input import ImageInput
from tao_anomaly.nodes.outputs import TrackOutputs
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ImageSettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame


class DetectorNode(StageNode):
    """Detects, tracks and describes objects; one array for every image, also when empty."""

    def __init__(self) -> None:
        super().__init__("detector")
        self._image = Settings(self, ImageSettings)
        self._detector = Settings(self, DetectorConfig, prefix="detector")
        self._tracker = Settings(self, TrackerConfig, prefix="tracker")
        self._features = Settings(self, FeatureConfig, prefix="features")
        self._input: ImageInput | None = None

    def configure(self) -> None:
        """Load the detector and run it once; raises WeightsError with the remedy."""
        config = PipelineConfig(
            detector=self._detector.value,
            tracker=self._tracker.value,
            features=self._features.value,
        )
        self._perception = Perception.from_config(config)
        self._perception.detector.detect(np.zeros((480, 640, 3), np.uint8))
        self.get_logger().info(f"features {self._perception.feature_id}")

    def activate(self) -> None:
        """Begin to receive images."""
        self._outputs = TrackOutputs(self)
        self._outputs.publish_labels(self._perception.class_names, self._detector.value.confidence)
        self._input = ImageInput(self, self._image.value.image_transport, self._process)

    def close(self) -> None:
        """Stop the worker thread."""
        if self._input is not None:
            self._input.close()

    def _process(self, frame: Frame, header: Header) -> None:
        features = self._perception.process(frame)
        if features is None:
            self.skip("image not used", dict(self._perception.skipped))
            return
        self._outputs.publish(features, header)


def main() -> int:
    """Run the node."""
    return run(DetectorNode)


if __name__ == "__main__":
    sys.exit(main())
