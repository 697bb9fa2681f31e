"""Node of the third stage: windows in, anomaly scores and events out."""

from __future__ import annotations

import sys

from tao_anomaly_msgs.msg import TrackWindowArray

from tao_anomaly.config import ScorerConfig
from tao_anomaly.model.artifact import Artifact, ArtifactError, load_artifact
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.conversions import windows_from
from tao_anomaly.nodes.outputs import AnomalyOutputs
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ModelSettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.scoring.events import EventDetector
from tao_anomaly.scoring.scorer import Scorer


class ScorerNode(StageNode):
    """Scores objects with a fitted model; one array for every image, also when empty."""

    def __init__(self) -> None:
        super().__init__("scorer")
        self._model = Settings(self, ModelSettings)
        self._settings = Settings(
            self, ScorerConfig, prefix="scorer", on_change=self._take_settings
        )

    def _take_settings(self, config: ScorerConfig) -> None:
        self._scorer.reconfigure(config)
        self._event_detector.config = config

    def configure(self) -> None:
        """Load and verify the model; raises ArtifactError with the remedy."""
        artifact = load_model(self._model.value)
        self._scorer = Scorer.from_artifact(artifact, config=self._settings.value)
        self._event_detector = EventDetector(self._settings.value)
        self.get_logger().info(f"model {artifact.model_id} for features {artifact.feature_id}")

    def activate(self) -> None:
        """Begin to receive windows."""
        self._outputs = AnomalyOutputs(self)
        self.create_subscription(
            TrackWindowArray,
            topics.WINDOWS,
            self.guarded(self._process),
            qos.STAGE,
            qos_overriding_options=qos.overridable(),
        )

    def _process(self, message: TrackWindowArray) -> None:
        windows = windows_from(message)
        scores = self._scorer.update(windows)
        events = self._event_detector.update(scores)
        self._outputs.publish(scores, events, message.header, window_length=windows.length)


def load_model(settings: ModelSettings) -> Artifact:
    """Return the verified artifact that the parameter `model` names."""
    if not settings.model:
        raise ArtifactError(
            "parameter model: got no folder, expected that of a fitted model; fit one with"
            " `python -m tao_anomaly.fit source=<normal footage> output=<folder>`"
        )
    return load_artifact(settings.model)


def main() -> int:
    """Run the node."""
    return run(ScorerNode)


if __name__ == "__main__":
    sys.exit(main())
