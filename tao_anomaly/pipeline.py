"""The stages chained: frames in, anomaly scores out."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from tao_anomaly.config import PipelineConfig, differing_settings, validate
from tao_anomaly.detection.detector import Detector, Found, ImageOutput
from tao_anomaly.features.extractor import FeatureExtractor
from tao_anomaly.model.artifact import Artifact
from tao_anomaly.scoring.events import EventDetector
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import (
    MOVING_OBJECT,
    AnomalyEvent,
    AnomalyScores,
    FeatureLayout,
    Frame,
    TrackFeatures,
    TrackWindows,
)
from tao_anomaly.tracking.byte_track import ByteTracker
from tao_anomaly.tracking.camera_motion import STILL, CameraMotionEstimator
from tao_anomaly.tracking.moving_areas import CLASS_NAME, MovingAreas
from tao_anomaly.tracking.tracker import EpochGuard, Tracker
from tao_anomaly.windows import TrackBuffer

log = logging.getLogger(__name__)


class Perception:
    """Detection, tracking and features of one stream.

    camera: measures the motion of a camera that does not stand still. moving: finds what moves and
    the network has no box for, where it does.
    skipped: images left out so far, by reason. excess: objects left out so far, beyond the most
    that the detector may give in an image. layout, feature_id, class_names: of the features.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        tracker: Tracker,
        extractor: FeatureExtractor,
        guard: EpochGuard,
        camera: CameraMotionEstimator | None = None,
        moving: MovingAreas | None = None,
    ) -> None:
        self.detector = detector
        self.tracker = tracker
        self.extractor = extractor
        self.guard = guard
        self.camera = camera
        self.moving = moving
        self.skipped: Counter[str] = Counter()
        self.excess = 0

    @staticmethod
    def from_config(config: PipelineConfig, *, detector: Detector | None = None) -> Perception:
        """Build the stages; streams may share one `detector`, which holds no state of theirs."""
        validate(config)
        detector = detector or Detector.from_config(config.detector)
        confidence = config.detector.moving_confidence
        still = config.tracker.camera_motion == "static"
        return Perception(
            detector=detector,
            tracker=ByteTracker(config.tracker),
            extractor=FeatureExtractor(
                detector=detector,
                config=config.features,
                camera_motion=config.tracker.camera_motion,
            ),
            guard=EpochGuard(config.tracker),
            camera=None if still else CameraMotionEstimator(),
            moving=(MovingAreas(confidence=confidence) if still and confidence > 0 else None),
        )

    @property
    def layout(self) -> FeatureLayout:
        """How a feature vector is laid out."""
        return self.extractor.layout

    @property
    def feature_id(self) -> str:
        """What the features were made by."""
        return self.extractor.feature_id

    @property
    def class_names(self) -> dict[int, str]:
        """What each class index is called."""
        names = dict(self.detector.backend.class_names)
        if self.moving:
            names[MOVING_OBJECT] = CLASS_NAME
        return names

    @property
    def epoch(self) -> int:
        """Rises whenever tracker state is discarded."""
        return self.guard.epoch

    def reset(self) -> None:
        """Discard the state of the stream and begin a new epoch."""
        self.guard.restart()
        self._restart_stages()

    def process(self, frame: Frame, found: Found | None = None) -> TrackFeatures | None:
        """Return the tracked objects of the next image, None where it is skipped (and counted).

        found: what the detector found in it, if it has been run already (in a batch).
        """
        if frame.image.size == 0:
            self.skipped["empty image"] += 1
            return None
        if self.guard.is_duplicate(frame.stamp_ns):
            self.skipped["duplicate stamp"] += 1
            return None
        seen = found or self.detector.forward(frame.image)
        begun = self.extractor.begin(frame)  # beside what follows, which leaves it a core
        detections, pyramid = self.detector.found(seen) if isinstance(seen, ImageOutput) else seen
        # Only now, after what may fail: a bad image leaves the stream's state as it was.
        previous = self.epoch
        reason = self.guard.check(frame.stamp_ns, frame.size)
        if reason:
            log.warning("epoch %d begins: %s", self.epoch, reason)
        if self.epoch != previous:
            self._restart_stages()
        motion = self.camera.update(frame.image, detections.boxes) if self.camera else STILL
        if self.moving:
            most = self.detector.config.max_detections
            detections = self.moving.add(detections, frame, most=most)
        self.excess += detections.excess
        tracks = self.tracker.update(detections, frame.stamp_ns, motion)
        features = self.extractor.extract(tracks, pyramid, frame, motion, begun)
        return TrackFeatures(
            stamp_ns=frame.stamp_ns,
            epoch=self.epoch,
            image_size=frame.size,
            tracks=tracks,
            features=features,
            feature_id=self.feature_id,
        )

    def _restart_stages(self) -> None:
        self.tracker.reset(self.epoch)
        self.extractor.reset()
        if self.camera:
            self.camera.reset()
        if self.moving:
            self.moving.reset()


@dataclass(frozen=True)
class PipelineResult:
    """What all stages made of one image."""

    features: TrackFeatures
    windows: TrackWindows
    scores: AnomalyScores
    events: list[AnomalyEvent]


class Pipeline:
    """All stages of one stream, as the nodes run them."""

    def __init__(
        self, *, perception: Perception, buffer: TrackBuffer, scorer: Scorer, events: EventDetector
    ) -> None:
        self.perception = perception
        self.buffer = buffer
        self.scorer = scorer
        self.events = events

    @staticmethod
    def from_config(
        config: PipelineConfig, *, artifact: Artifact, detector: Detector | None = None
    ) -> Pipeline:
        """Build the stages; an artifact made for other features is refused.

        Other settings than the artifact was fitted with give a warning that names them.
        """
        perception = Perception.from_config(config, detector=detector)
        scorer = Scorer.from_artifact(artifact, config=config.scorer)
        scorer.require(perception.feature_id)
        warn_of_settings(artifact, config)
        return Pipeline(
            perception=perception,
            buffer=TrackBuffer(config.windows),
            scorer=scorer,
            events=EventDetector(config.scorer),
        )

    def reset(self) -> None:
        """Discard the state of the stream."""
        self.perception.reset()
        self.buffer.reset()
        self.scorer.reset()
        self.events.reset()

    def process(self, frame: Frame) -> PipelineResult | None:
        """Return the scores of the next image, None where it is skipped."""
        features = self.perception.process(frame)
        if features is None:
            return None
        windows = self.buffer.update(features)
        scores = self.scorer.update(windows)
        return PipelineResult(features, windows, scores, self.events.update(scores))


def warn_of_settings(artifact: Artifact, config: PipelineConfig) -> None:
    """Log which settings that scores depend on are not those the artifact was fitted with."""
    differing = differing_settings(artifact.config.get("fitted_with", {}), config)
    if differing:
        log.warning(
            "model %s was fitted with other settings (%s): its scores and threshold may not hold;"
            " use those settings, or fit it again with the present ones",
            artifact.model_id,
            "; ".join(differing),
        )
