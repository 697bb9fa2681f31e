"""The feature vector of each tracked object of an image."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from tao_anomaly.config import FeatureConfig, TrackerConfig
from tao_anomaly.detection.detector import Detector, FeaturePyramid
from tao_anomaly.features.class_scores import class_scores
from tao_anomaly.features.kinematics import KINEMATICS, KinematicsEstimator
from tao_anomaly.features.optical_flow import BoxFlow, Comparison
from tao_anomaly.features.roi_align import roi_align
from tao_anomaly.structures import FeatureLayout, FloatArray, Frame, Tracks
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion

_VERSION = 6  # raise it when the meaning of a feature changes


class FeatureExtractor:
    """Appearance of each track from the pyramid, its kinematics, its flow and its class scores.

    layout: where the parts lie. feature_id: hash of all that determines the values; features of two
    ids must never meet.
    """

    def __init__(
        self, *, detector: Detector, config: FeatureConfig, camera_motion: str = "static"
    ) -> None:
        self.config = config
        appearance = sum(detector.backend.channels)
        self.layout = FeatureLayout(
            appearance,
            len(KINEMATICS),
            config.grid,
            classes=len(detector.backend.class_names),
        )
        self.feature_id = _feature_id(detector, config, camera_motion)
        self._kinematics = KinematicsEstimator(span=config.velocity_span)
        self._flow = BoxFlow()
        # Dense flow hardly gains from threads of its own, and needs no Python meanwhile.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="flow")

    def reset(self) -> None:
        """Forget the tracks' past."""
        self._kinematics.reset()
        self._flow = BoxFlow()  # the one before may be at work

    def begin(self, frame: Frame) -> Future[Comparison]:
        """Compare an image with the last, meanwhile: for this its objects need not be known."""
        return self._beside.submit(self._flow.compare, frame)

    def extract(
        self,
        tracks: Tracks,
        pyramid: FeaturePyramid,
        frame: Frame,
        motion: CameraMotion = STILL,
        begun: Future[Comparison] | None = None,
    ) -> FloatArray:
        """Return the features ``(N, D)`` float32 of the tracks of one image.

        motion: of the camera, from the last image to this one. begun: what `begin` gave for this
        image.
        """
        flow, compared = self._flow, begun or self.begin(frame)
        moved = self._beside.submit(
            lambda: flow.update(frame, tracks.boxes, motion, compared.result())
        )
        appearance = self.appearance(tracks.boxes, pyramid)
        kinematics = self._kinematics.update(tracks, frame.stamp_ns, frame.size, motion)
        grid = [self.grid(tracks.boxes, pyramid)] if self.config.grid else []
        classes = self.classes(tracks.boxes, pyramid)
        return np.concatenate([appearance, kinematics, moved.result(), *grid, classes], axis=1)

    def appearance(self, boxes: FloatArray, pyramid: FeaturePyramid) -> FloatArray:
        """Return RoIAlign of each level, mean-pooled and concatenated, ``(N, A)``."""
        # The mean over all bins of an even grid is one bin with all its sampling points.
        samples = self.config.roi_bins * self.config.roi_samples
        return self._pool(boxes, pyramid, bins=1, samples=samples)

    def grid(self, boxes: FloatArray, pyramid: FeaturePyramid) -> FloatArray:
        """Return RoIAlign grids of all levels, cells row by row, channels last, ``(N, G*G*A)``."""
        samples = max(1, self.config.roi_bins * self.config.roi_samples // self.config.grid)
        return self._pool(boxes, pyramid, bins=self.config.grid, samples=samples)

    def classes(self, boxes: FloatArray, pyramid: FeaturePyramid) -> FloatArray:
        """Return the highest score of each class in each box, ``(N, C)``."""
        scores = class_scores(pyramid.letterbox.to_input(boxes), pyramid.candidates)
        return scores.astype(np.float16).astype(np.float32)  # as `_pool` does

    @torch.inference_mode()
    def _pool(
        self, boxes: FloatArray, pyramid: FeaturePyramid, *, bins: int, samples: int
    ) -> FloatArray:
        # A thread multiplies matrices with the number of threads set for the process only once it
        # has asked for it; with another number the last bits differ.
        torch.get_num_threads()
        inputs = pyramid.letterbox.to_input(boxes)
        scales = [1 / stride for stride in pyramid.strides]
        pooled = roi_align(pyramid.maps, inputs, bins=bins, samples=samples, scales=scales)
        # In half precision's steps: the store keeps half floats, and what is scored online must be
        # what is scored from the store.
        return pooled.permute(0, 2, 3, 1).flatten(1).half().float().cpu().numpy()


def _feature_id(detector: Detector, config: FeatureConfig, camera_motion: str) -> str:
    """Return 12 hex digits over weights, levels, input size, pooling, camera motion and version."""
    facts = {
        "version": _VERSION,
        "weights": detector.backend.weights_sha256,
        "strides": detector.backend.strides,
        "channels": detector.backend.channels,
        "input_size": detector.config.input_size,
        "roi": [config.roi_bins, config.roi_samples, config.grid],
        "velocity_span": config.velocity_span,
        "kinematics": KINEMATICS,
    }
    if camera_motion != TrackerConfig().camera_motion:
        facts["camera_motion"] = camera_motion
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
