"""What an evaluation reads: track features and all boxes that were found, of every frame.

Both come from one pass over the images. Features lie in a feature store, the boxes beside them in
``<store>/boxes/<dataset>/<clip>.npz``; what is there already is not made again.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.config import PipelineConfig
from tao_anomaly.datasets.dataset import TEST, Clip
from tao_anomaly.extraction import ClipExtractor, ClipTask, perception_settings
from tao_anomaly.media.clip_file import StoreError
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Detections, FloatArray, IntArray, TrackFeatures, Tracks
from tao_anomaly.tracking.camera_motion import STILL, CameraMotion
from tao_anomaly.tracking.tracker import Tracker
from tao_anomaly.windows import FeatureMismatchError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameBoxes:
    """All boxes found in a clip, tracked or not.

    frames ``(N,)``: frame numbers. boxes ``(N, 4)`` in pixels of the source image.
    """

    frames: IntArray
    boxes: FloatArray


@dataclass(frozen=True)
class ClipFeatures:
    """What a method sees of a test clip; only the oracles look at `regions`.

    frames ``(F,)``: number of each of `images`. all_boxes: tracked or not. rate:
    frames a second.
    """

    name: str
    rate: float
    frames: IntArray
    images: Sequence[TrackFeatures]
    class_names: Mapping[int, str]
    all_boxes: FrameBoxes
    regions: RegionTracks | None

    @property
    def object_frames(self) -> IntArray:
        """``(N,)``: frame number of every tracked object, in order."""
        return np.repeat(self.frames, [len(image.tracks) for image in self.images])


class RecordingTracker:
    """A tracker that keeps the boxes it was given of every image since `take`."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._found: list[FloatArray] = []

    def update(self, detections: Detections, stamp_ns: int, motion: CameraMotion = STILL) -> Tracks:
        """Return what the tracker does, and keep the boxes."""
        self._found.append(detections.boxes)
        return self._tracker.update(detections, stamp_ns, motion)

    def reset(self, epoch: int) -> None:
        """Forget all objects, but not the boxes."""
        self._tracker.reset(epoch)

    def take(self, frames: IntArray) -> FrameBoxes:
        """Return the boxes kept, and forget them; frames ``(F,)``: numbers of those images."""
        found, self._found = self._found, []
        counts = np.array([len(boxes) for boxes in found], np.int64)
        if len(counts) != len(frames):
            raise StoreError(
                f"got boxes of {len(counts)} images for {len(frames)} stored frames; delete the"
                " clip from the store and extract it again"
            )
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *found])
        return FrameBoxes(np.repeat(frames, counts), boxes)


class RecordingExtractor(ClipExtractor):
    """Extracts clips and keeps the boxes of the last one, tracked or not."""

    recorder: RecordingTracker

    def perception(self) -> Perception:
        """Return fresh stages for a clip, whose tracker records."""
        perception = super().perception()
        perception.tracker = self.recorder = RecordingTracker(perception.tracker)
        return perception


class EvaluationStore:
    """Features and boxes of one dataset's clips in a feature store."""

    def __init__(self, folder: Path, *, dataset: str, config: PipelineConfig) -> None:
        self.folder = folder
        self.dataset = dataset
        self.config = config
        self.features = FeatureStore(folder)

    @property
    def class_names(self) -> dict[int, str]:
        """What each class index is called, by any clip of the store."""
        return next((info.class_names for info in self.features.infos.values()), {})

    def prepare(self, clips: Sequence[Clip], *, feature_id: str, precision: str) -> None:
        """Extract the features of those clips that are missing, and the boxes of the test clips.

        Raises FeatureMismatchError or StoreError where the store, or the detector, makes other
        features than `feature_id`.
        """
        self.features.require(feature_id)
        self.features.require_settings(perception_settings(self.config), precision)
        held = set(self.features.clips())
        pending = [clip for clip in clips if not self._complete(clip, held)]
        log.info("%d clips stored before, %d to extract", len(clips) - len(pending), len(pending))
        if not pending:
            return
        extractor = RecordingExtractor(str(self.folder), self.config, precision)
        made = extractor.perception().feature_id
        if made != feature_id:
            raise FeatureMismatchError(
                f"got features {made} from this detector, expected {feature_id} as the model was"
                " fitted on; use its detector weights and settings (pipeline.detector,"
                " pipeline.features)"
            )
        self.features.remove_unfinished()
        with tqdm(total=sum(clip.frame_count for clip in pending), unit="frame") as bar:
            for clip in pending:
                bar.set_postfix_str(clip.name)
                self._extract(clip, extractor, bar.update)
        self.features = FeatureStore(self.folder)

    def read(self, clip: Clip) -> ClipFeatures:
        """Return what is held of a test clip; raises StoreError."""
        name = self.name(clip.name)
        entries = list(self.features.iterate(name))
        info = self.features.infos[name]
        return ClipFeatures(
            name=clip.name,
            rate=info.rate,
            frames=np.array([frame for frame, _ in entries], np.int64),
            images=[features for _, features in entries],
            class_names=info.class_names,
            all_boxes=self.boxes(clip.name),
            regions=clip.regions,
        )

    def boxes(self, clip: str) -> FrameBoxes:
        """Return all boxes of a test clip; raises StoreError."""
        path = self._boxes_path(clip)
        try:
            with np.load(path, allow_pickle=False) as file:
                return FrameBoxes(file["frames"], file["boxes"])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"{path}: not readable ({error}); delete it to extract again"
            ) from error

    def name(self, clip: str) -> str:
        """Return what the feature store calls a clip."""
        return f"{self.dataset}/{clip}"

    def _complete(self, clip: Clip, held: set[str]) -> bool:
        has_boxes = clip.split != TEST or self._boxes_path(clip.name).is_file()
        return self.name(clip.name) in held and has_boxes

    def _extract(
        self, clip: Clip, extractor: RecordingExtractor, on_frame: Callable[[], object]
    ) -> None:
        result = extractor.extract(ClipTask.of(self.dataset, clip), on_frame)
        if result.error:
            raise StoreError(f"{result.name} could not be extracted: {result.error}")
        found = extractor.recorder.take(FeatureStore(self.folder).frames(result.name))
        if clip.split == TEST:
            _save(self._boxes_path(clip.name), found)

    def _boxes_path(self, clip: str) -> Path:
        return self.folder / "boxes" / self.dataset / f"{clip}.npz"


def _save(path: Path, found: FrameBoxes) -> None:
    content = io.BytesIO()
    np.savez(content, frames=found.frames, boxes=found.boxes)
    write_atomically(path, content.getvalue())
