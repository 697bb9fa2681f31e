"""Simple methods and oracles on the same detections, which say what a result is worth.

None of them learns from the test clips. Those that learn do so on the train split, divided as a
model's is: neighbours and scene from one part, scale and threshold from others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tao_anomaly.config import CalibrationConfig, ScorerConfig, WindowConfig
from tao_anomaly.evaluation.features import ClipFeatures, FrameBoxes
from tao_anomaly.evaluation.scored_clip import ScoredClip, clip_of_boxes
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.metrics.regions import RegionTracks, ScoredBoxes, join_videos, metric_boxes
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.fitting import calibrate, windows_of
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.scoring.split import Split, cut_long_clips, split_clips
from tao_anomaly.structures import FeatureLayout, TrackFeatures

BASELINE_CUES = ("speed", "appearance")
ORACLE_IOU = 0.1  # what RBDC asks of a detection
PERSON = "person"
_MOST_IMAGES = 10_000  # of the train split that the baselines are fitted on
_VELOCITY = [KINEMATICS.index("velocity_x"), KINEMATICS.index("velocity_y")]
_LOG_HEIGHT = KINEMATICS.index("log_height")
# Every object of every image at once: the neighbours need no history.
_EACH_IMAGE = WindowConfig(length=2, hop=1, min_observations=1)

Clips = Mapping[str, Sequence[TrackFeatures]]


class Baseline(Protocol):
    """A method that scores a clip. name: its row's. note: what the score is."""

    @property
    def name(self) -> str: ...  # noqa: D102 (documented above)

    @property
    def note(self) -> str: ...  # noqa: D102

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Return the clip's boxes with their scores."""
        ...


class ClassRule:
    """Whatever is no person is anomalous."""

    name = "class rule"
    note = "confidence of an object that is no person, 0 for persons"

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Score the tracked objects."""
        persons = [i for i, name in clip.class_names.items() if name == PERSON]
        return _of_objects(
            clip,
            [
                np.where(np.isin(image.tracks.class_ids, persons), 0.0, image.tracks.scores)
                for image in clip.images
            ],
        )


@dataclass(frozen=True)
class BoxSpeed:
    """Whatever moves fast for its size is anomalous."""

    layout: FeatureLayout
    name: str = "box speed"
    note: str = "box heights a second"

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Score the tracked objects."""
        parts = [image.features[:, self.layout.kinematics_slice] for image in clip.images]
        return _of_objects(
            clip,
            [np.linalg.norm(p[:, _VELOCITY], axis=1) / np.exp(p[:, _LOG_HEIGHT]) for p in parts],
        )


@dataclass(frozen=True)
class NearestAppearance:
    """Whatever looks unlike the normal footage is anomalous."""

    model: Cues
    name: str = "nearest neighbours"
    note: str = "distance of the RoI feature to the nearest of the train split"

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Score the tracked objects."""
        column = self.model.term_names.index("appearance")
        windows = windows_of(clip.images, _EACH_IMAGE)
        return _of_objects(clip, [self.model.terms(cut)[:, column] for cut in windows])


@dataclass(frozen=True)
class RandomScores:
    """A uniform random number."""

    seed: int
    name: str = "random"
    note: str = "uniform scores of the tracked boxes"

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Score the tracked objects; the clip's name and the seed alone decide."""
        generator = np.random.default_rng((self.seed, zlib.crc32(clip.name.encode())))
        return _of_objects(clip, [generator.random(len(image.tracks)) for image in clip.images])


class TrackedOracle:
    """Perfect scores for the tracked boxes: the ceiling of everything that scores tracks."""

    name = "oracle, tracked boxes"
    note = "the tracked boxes that find a region, and no other"

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Keep the boxes that find a region."""
        boxes = np.concatenate(
            [np.zeros((0, 4), np.float32), *(image.tracks.boxes for image in clip.images)]
        )
        return _perfect(clip, FrameBoxes(clip.object_frames, boxes))


class DetectorOracle:
    """Perfect scores for all boxes that the tracker is given: the ceiling of the proposals."""

    name = "oracle, all boxes"
    note = "the boxes given to the tracker that find a region, and no other"

    def score(self, clip: ClipFeatures) -> ScoredClip:
        """Keep the boxes that find a region."""
        return _perfect(clip, clip.all_boxes)


def _perfect(clip: ClipFeatures, found: FrameBoxes) -> ScoredClip:
    regions = clip.regions if clip.regions is not None else RegionTracks.empty()
    if not len(regions):
        return ScoredClip(ScoredBoxes.empty())
    scores = np.ones(len(found.frames))
    boxes = ScoredBoxes(found.frames, metric_boxes(found.boxes), scores)
    hits = np.unique(join_videos([regions], [boxes], ORACLE_IOU).pair_detections)
    return clip_of_boxes(found.frames[hits], found.boxes[hits], scores[hits])


def _of_objects(clip: ClipFeatures, scores: Sequence[np.ndarray]) -> ScoredClip:
    """Return the clip's tracked boxes with the scores of each image."""
    nothing = np.zeros((0, 4), np.float32)
    return clip_of_boxes(
        clip.object_frames,
        np.concatenate([nothing, *(image.tracks.boxes for image in clip.images)]),
        np.concatenate([np.zeros(0), *scores]),
        track_ids=[track_id for image in clip.images for track_id in image.tracks.ids],
    )


@dataclass(frozen=True)
class FittedBaseline:
    """Nearest neighbours and speed, fitted on a train split, and how the split was divided."""

    model: Cues
    scorer: Scorer
    split: Split


def fit_baseline(
    clips: Clips,
    *,
    layout: FeatureLayout,
    feature_id: str,
    windows: WindowConfig,
    scorer: ScorerConfig,
    calibration: CalibrationConfig,
    camera_motion: str = "static",
) -> FittedBaseline:
    """Fit the two classical cues on normal clips, as `tao_anomaly.fit` does.

    clips may read from disk: one at a time is held, but for the images that the cues are fitted on.
    """
    clips = cut_long_clips(clips) if len(clips) < 3 else clips
    split = split_clips(list(clips), calibration)
    model = Cues.fit(
        _beginnings(clips, split.train),
        layout=layout,
        seed=calibration.seed,
        camera_motion=camera_motion,
        windows=windows,
        terms=BASELINE_CUES,
    )
    fitted = calibrate(
        model,
        weights=model.weights,
        calibration_clips=Part(clips, split.calibration),
        check_clips=Part(clips, split.check),
        feature_id=feature_id,
        windows=windows,
        scorer=scorer,
        config=calibration,
    )
    made = Scorer(model=model, calibration=fitted, feature_id=feature_id, config=scorer)
    return FittedBaseline(model, made, split)


@dataclass(frozen=True)
class Part(Mapping[str, Sequence[TrackFeatures]]):
    """Some of the clips of a mapping, read when asked for."""

    clips: Clips
    names: Sequence[str]

    def __getitem__(self, name: str) -> Sequence[TrackFeatures]:
        return self.clips[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class StoredClips(Mapping[str, Sequence[TrackFeatures]]):
    """The clips of a feature store, read when asked for."""

    store: FeatureStore

    def __getitem__(self, name: str) -> Sequence[TrackFeatures]:
        return self.store.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.store.clips())

    def __len__(self) -> int:
        return len(self.store.clips())


def _beginnings(clips: Clips, names: Sequence[str]) -> list[Sequence[TrackFeatures]]:
    """Return the images of each clip, or as much of its beginning, so that few are held at once.

    The same share of every clip, in one piece, since tracks tell how normal objects move; no more
    than _MOST_IMAGES together where that leaves one of each clip.
    """
    halvings, kept = 0, list[Sequence[TrackFeatures]]()
    for name in names:
        found = clips[name]
        kept.append(found[: _halved(len(found), halvings)])
        while sum(map(len, kept)) > max(_MOST_IMAGES, len(kept)):
            halvings += 1
            kept = [images[: _halved(len(images), 1)] for images in kept]
    return kept


def _halved(count: int, times: int) -> int:
    return -(-count // 2**times)
