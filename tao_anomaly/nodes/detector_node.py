"""Node of the first stage: images in, tracked objects with features out."""

from __future__ import annotations

import sys

from std_msgs.msg import Header

from tao_anomaly.config import DetectorConfig, FeatureConfig, PipelineConfig, TrackerConfig
from tao_anomaly.detection.self_test import try_detector
from tao_anomaly.nodes.image_input import ImageInput, answer_or_skip
from tao_anomaly.nodes.outputs import TrackOutputs
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ImageInputSettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame


class DetectorNode(StageNode):
    """Detects, tracks and describes objects; one array for every image, also when empty."""

    def __init__(self) -> None:
        super().__init__("detector")
        self._image = Settings(self, ImageInputSettings)
        self._detector = Settings(self, DetectorConfig, prefix="detector")
        self._tracker = Settings(self, TrackerConfig, prefix="tracker")
        self._features = Settings(self, FeatureConfig, prefix="features")
        self._perception: Perception | None = None

    def configure(self) -> None:
        """Load the detector and run it once; raises WeightsError with the remedy."""
        config = PipelineConfig(
            detector=self._detector.value,
            tracker=self._tracker.value,
            features=self._features.value,
        )
        self._perception = Perception.from_config(config)
        try_detector(self._perception.detector)
        self._outputs = TrackOutputs(self)
        self.get_logger().info(f"features {self._perception.feature_id}")

    def activate(self) -> None:
        """Begin to receive images."""
        assert self._perception is not None
        self._outputs.publish_labels(self._perception.class_names, self._detector.value.confidence)
        self.inputs.append(ImageInput(self, self._image, self._answer))

    def cleanup(self) -> None:
        """Free the detector."""
        self._perception = None

    def reset_stream(self) -> None:
        """Begin a new epoch."""
        if self._perception is not None:
            self._perception.reset()

    def describe(self) -> dict[str, object]:
        """Return what made the features."""
        if self._perception is None:
            return {}
        made = {"feature_id": self._perception.feature_id, "epoch": self._perception.epoch}
        return {**made, **self._outputs.describe()}

    def _answer(self, frame: Frame, header: Header) -> None:
        assert self._perception is not None
        features = answer_or_skip(self._perception, self._perception.process, frame)
        self._outputs.publish(features, header, excess=self._perception.excess)


def main() -> int:
    """Run the node."""
    return run(DetectorNode)


if __name__ == "__main__":
    sys.exit(main())
