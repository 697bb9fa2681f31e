"""Node of the third stage: windows in, anomaly scores and events out."""

from __future__ import annotations

import sys

from tao_anomaly_msgs.msg import TrackWindowArray

from tao_anomaly.config import ScorerConfig
from tao_anomaly.model.artifact import Artifact, ArtifactError, load_artifact
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.calibrator import Calibrator
from tao_anomaly.nodes.conversions import windows_from
from tao_anomaly.nodes.outputs import AnomalyOutputs
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ModelSettings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.scoring.events import EventDetector
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.scoring.self_test import try_model
from tao_anomaly.structures import AnomalyScores, TrackWindows
from tao_anomaly.windows import FeatureMismatchError


class ScorerNode(StageNode):
    """Scores objects with a fitted model; one array for every image, also when empty.

    Windows of other features than the model's are never scored: their objects are INVALID, and the
    node is in error as long as they come.
    """

    def __init__(self) -> None:
        super().__init__("scorer")
        self._scorer: Scorer | None = None
        self._model = Settings(self, ModelSettings)
        self._settings = Settings(
            self, ScorerConfig, prefix="scorer", on_change=self._take_settings
        )
        self._calibrator = Calibrator(self, self._model)

    def _take_settings(self, config: ScorerConfig) -> None:
        if self._scorer is not None:
            self._scorer.reconfigure(config)
            self._event_detector.config = config

    def configure(self) -> None:
        """Load and verify the model and score once; raises ArtifactError with the remedy."""
        artifact = load_model(self._model.value)
        self._scorer = Scorer.from_artifact(artifact, config=self._settings.value)
        try_model(self._scorer, artifact)
        self._calibrator.configure(self._scorer)
        self._event_detector = EventDetector(self._settings.value)
        self._outputs = AnomalyOutputs(self)
        self.get_logger().info(f"model {artifact.model_id} for features {artifact.feature_id}")

    def activate(self) -> None:
        """Begin to receive windows."""
        self.listen(TrackWindowArray, topics.WINDOWS, self.answering(self._answer), qos.STAGE)

    def deactivate(self) -> None:
        """End a calibration."""
        self._calibrator.stop()

    def cleanup(self) -> None:
        """Free the model."""
        self._scorer = None
        self._calibrator.cleanup()

    def reset_stream(self) -> None:
        """Forget all tracks; events that run end when their objects are seen no more."""
        if self._scorer is not None:
            self._scorer.reset()

    def describe(self) -> dict[str, object]:
        """Return what scores and how it is calibrated."""
        if self._scorer is None:
            return {}
        return describe_scorer(self._scorer, self._calibrator)

    def _answer(self, message: TrackWindowArray) -> None:
        windows = windows_from(message)
        scores = self._score(windows)
        events = self._event_detector.update(scores)
        self._outputs.publish(scores, events, message.header, window_length=windows.length)
        self._calibrator.update(scores)

    def _score(self, windows: TrackWindows) -> AnomalyScores:
        assert self._scorer is not None
        try:
            scores = self._scorer.update(windows)
        except FeatureMismatchError as error:
            if self.fault != str(error):
                self.get_logger().error(f"nothing is scored: {error}")
            self.fault = str(error)
            return self._scorer.refuse(windows)
        if self.fault:
            self.get_logger().info("the features are the model's again: scoring goes on")
        self.fault = ""
        return scores


def describe_scorer(scorer: Scorer, calibrator: Calibrator) -> dict[str, object]:
    """Return what diagnostics say of a scorer."""
    return {
        "model_id": scorer.model_id,
        "feature_id of the model": scorer.feature_id,
        "threshold rule": scorer.calibration.threshold.get("rule"),
        "calibration": calibrator.status,
    }


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
