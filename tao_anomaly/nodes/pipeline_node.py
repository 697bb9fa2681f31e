"""All stages in one process: images in, anomaly scores and events out, on the same topics."""

from __future__ import annotations

import sys
import threading

import numpy as np
from std_msgs.msg import Header

from tao_anomaly.config import (
    DetectorConfig,
    FeatureConfig,
    PipelineConfig,
    ScorerConfig,
    TrackerConfig,
    WindowConfig,
)
from tao_anomaly.nodes.image_input import ImageInput
from tao_anomaly.nodes.outputs import AnomalyOutputs, TrackOutputs, WindowOutput
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.scorer_node import load_model
from tao_anomaly.nodes.settings import ImageSettings, ModelSettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.pipeline import Pipeline
from tao_anomaly.structures import Frame


class PipelineNode(StageNode):
    """Runs all stages without messages between them; features and windows only if listened to."""

    def __init__(self) -> None:
        super().__init__("pipeline")
        self._lock = threading.Lock()  # settings change in another thread than images arrive in
        self._image = Settings(self, ImageSettings)
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
        self._input: ImageInput | None = None

    def _take_window_settings(self, config: WindowConfig) -> None:
        with self._lock:
            self._pipeline.buffer.config = config

    def _take_scorer_settings(self, config: ScorerConfig) -> None:
        with self._lock:
            self._pipeline.scorer.reconfigure(config)
            self._pipeline.events.config = config

    def configure(self) -> None:
        """Load detector and model and run the detector once; raises ValueError with the remedy."""
        config = PipelineConfig(
            detector=self._detector.value,
            tracker=self._tracker.value,
            features=self._features.value,
            windows=self._windows.value,
            scorer=self._scorer.value,
        )
        self._pipeline = Pipeline.from_config(config, artifact=load_model(self._model.value))
        self._pipeline.perception.detector.detect(np.zeros((480, 640, 3), np.uint8))

    def activate(self) -> None:
        """Begin to receive images."""
        self._track_outputs = TrackOutputs(self)
        self._window_output = WindowOutput(self)
        self._anomaly_outputs = AnomalyOutputs(self)
        perception = self._pipeline.perception
        self._track_outputs.publish_labels(perception.class_names, self._detector.value.confidence)
        self._input = ImageInput(self, self._image.value.image_transport, self._process)

    def close(self) -> None:
        """Stop the worker thread."""
        if self._input is not None:
            self._input.close()

    def _process(self, frame: Frame, header: Header) -> None:
        with self._lock:
            result = self._pipeline.process(frame)
        if result is None:
            self.skip("image not used", dict(self._pipeline.perception.skipped))
            return
        self._anomaly_outputs.publish(
            result.scores, result.events, header, window_length=result.windows.length
        )
        self._track_outputs.publish(result.features, header)
        self._window_output.publish(result.windows, header)


def main() -> int:
    """Run the node."""
    return run(PipelineNode)


if __name__ == "__main__":
    sys.exit(main())
