"""All stages in one process: images in, anomaly scores and events out, on the same topics."""

from __future__ import annotations

import sys
from collections.abc import Callable

from std_msgs.msg import Header

from tao_anomaly.config import (
    DetectorConfig,
    FeatureConfig,
    PipelineConfig,
    ScorerConfig,
    TrackerConfig,
    WindowConfig,
)
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.self_test import try_detector
from tao_anomaly.nodes.calibrator import Calibrator
from tao_anomaly.nodes.image_input import ImageInput, answer_or_skip
from tao_anomaly.nodes.outputs import AnomalyOutputs, TrackOutputs, WindowOutput
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.scorer_node import describe_scorer, load_model
from tao_anomaly.nodes.settings import ImageInputSettings, ModelSettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.pipeline import Pipeline
from tao_anomaly.scoring.self_test import try_model
from tao_anomaly.structures import Frame


class PipelineNode(StageNode):
    """Runs all stages without messages between them; features and windows only if listened to.

    make_detector: gives the detector of these settings; cameras in one process may share it.
    cli_args: ROS arguments of this node alone.
    """

    def __init__(
        self,
        *,
        make_detector: Callable[[DetectorConfig], Detector] = Detector.from_config,
        cli_args: list[str] | None = None,
    ) -> None:
        super().__init__("pipeline", cli_args=cli_args)
        self._make_detector = make_detector
        self._pipeline: Pipeline | None = None
        self._image = Settings(self, ImageInputSettings)
        self._detector = Settings(self, DetectorConfig, prefix="detector")
        self._tracker = Settings(self, TrackerConfig, prefix="tracker")
        self._features = Settings(self, FeatureConfig, prefix="features")
        self._windows = Settings(
            self, WindowConfig, prefix="windows", on_change=self._take_window_settings
        )
        self._model = Settings(self, ModelSettings)
        self._scorer = Settings(
            self, ScorerConfig, prefix="scorer", on_change=self._take_scorer_settings
        )
        self._calibrator = Calibrator(self, self._model)

    def _take_window_settings(self, config: WindowConfig) -> None:
        with self.lock:
            if self._pipeline is not None:
                self._pipeline.buffer.config = config

    def _take_scorer_settings(self, config: ScorerConfig) -> None:
        with self.lock:
            if self._pipeline is not None:
                self._pipeline.scorer.reconfigure(config)
                self._pipeline.events.config = config

    def configure(self) -> None:
        """Load detector and model and run both once; raises ValueError with the remedy."""
        config = PipelineConfig(
            detector=self._detector.value,
            tracker=self._tracker.value,
            features=self._features.value,
            windows=self._windows.value,
            scorer=self._scorer.value,
        )
        artifact = load_model(self._model.value)
        detector = self._make_detector(config.detector)
        self._pipeline = Pipeline.from_config(config, artifact=artifact, detector=detector)
        try_detector(self._pipeline.perception.detector)
        try_model(self._pipeline.scorer, artifact)
        self._calibrator.configure(self._pipeline.scorer)
        self._track_outputs = TrackOutputs(self)
        self._window_output = WindowOutput(self)
        self._anomaly_outputs = AnomalyOutputs(self)

    def activate(self) -> None:
        """Begin to receive images."""
        assert self._pipeline is not None
        class_names = self._pipeline.perception.class_names
        self._track_outputs.publish_labels(class_names, self._detector.value.confidence)
        self.inputs.append(ImageInput(self, self._image, self._answer))

    def deactivate(self) -> None:
        """End a calibration."""
        self._calibrator.stop()

    def cleanup(self) -> None:
        """Free detector and model."""
        self._pipeline = None
        self._calibrator.cleanup()

    def reset_stream(self) -> None:
        """Begin a new epoch: events that run end with its first image."""
        if self._pipeline is not None:
            self._pipeline.perception.reset()
            self._pipeline.buffer.reset()

    def describe(self) -> dict[str, object]:
        """Return what scores, and what made the features."""
        if self._pipeline is None:
            return {}
        perception = self._pipeline.perception
        made = {"feature_id": perception.feature_id, "epoch": perception.epoch}
        scored = describe_scorer(self._pipeline.scorer, self._calibrator)
        return {**made, **self._track_outputs.describe(), **scored}

    def _answer(self, frame: Frame, header: Header) -> None:
        assert self._pipeline is not None
        result = answer_or_skip(self._pipeline.perception, self._pipeline.process, frame)
        length = result.windows.length
        self._anomaly_outputs.publish(result.scores, result.events, header, window_length=length)
        excess = self._pipeline.perception.excess
        self._track_outputs.publish(result.features, header, excess=excess)
        self._window_output.publish(result.windows, header)
        self._calibrator.update(result.scores)


def main() -> int:
    """Run the node."""
    return run(PipelineNode)


if __name__ == "__main__":
    sys.exit(main())
