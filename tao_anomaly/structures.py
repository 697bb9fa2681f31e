"""What passes between the stages: frozen dataclasses of arrays.

Conventions, valid everywhere in the package:

* boxes are ``(N, 4)`` float32 ``x1, y1, x2, y2`` in pixels of the source image, x to the right and
  y down, the origin at the outer corner of the top left pixel;
* times are integer nanoseconds (``stamp_ns``) where they identify an image and float seconds where
  they measure a duration;
* the first axis of every array of one structure is the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]

NANOSECONDS = 1_000_000_000

# Class index of what moves and the detector has no class for: the largest that tables hold (int16).
MOVING_OBJECT = 32767


class TrackState(IntEnum):
    """Where a track stands in its life (values of ``TrackFeature.state``).

    LOST: remembered by the tracker, which returns only the objects that it sees in an image.
    """

    NEW = 0
    TRACKED = 1
    LOST = 2


class AnomalyState(IntEnum):
    """What is known of an object (values of ``AnomalyScore.state``)."""

    WARMUP = 0
    NORMAL = 1
    ANOMALOUS = 2
    INVALID = 3


class EventPhase(IntEnum):
    """Phase of an anomaly event (values of ``AnomalyEvent.phase``)."""

    START = 0
    END = 1


@dataclass(frozen=True)
class Frame:
    """One image of a stream.

    image: ``(H, W, 3)`` uint8, BGR. stamp_ns: capture time in nanoseconds. index: zero-based number
    of the frame in its stream.
    """

    image: ImageArray
    stamp_ns: int
    index: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Detections:
    """Boxes of one image: boxes ``(N, 4)``, scores ``(N,)`` in 0..1, class_ids ``(N,)``.

    excess: how many more there were than may be kept.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: IntArray
    excess: int = 0

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: IntArray | NDArray[np.intp]) -> Detections:
        """Return the detections at the indices `keep`, in its order."""
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep])

    @staticmethod
    def empty() -> Detections:
        """Return zero detections."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        )


@dataclass(frozen=True)
class Candidates:
    """What the network boxed in one image before suppression, best first.

    boxes ``(K, 4)`` in pixels of the detector's input. class_scores ``(K, C)`` in 0..1.
    """

    boxes: FloatArray
    class_scores: FloatArray

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Tracks:
    """Tracked objects of one image.

    ids: ``"<epoch>-<n>"``, unique for the life of the tracker. boxes ``(N, 4)``: the detection's
    own box. scores ``(N,)``. class_ids ``(N,)``. ages ``(N,)``: frames since the track began.
    states ``(N,)``: TrackState.
    """

    ids: tuple[str, ...]
    boxes: FloatArray
    scores: FloatArray
    class_ids: IntArray
    ages: IntArray
    states: IntArray

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: IntArray | NDArray[np.intp]) -> Tracks:
        """Return the tracks at the indices `keep`, in its order."""
        return Tracks(
            tuple(self.ids[i] for i in keep),
            self.boxes[keep],
            self.scores[keep],
            self.class_ids[keep],
            self.ages[keep],
            self.states[keep],
        )

    @staticmethod
    def empty() -> Tracks:
        """Return zero tracks."""
        none = Detections.empty()
        ints = np.zeros(0, np.int64)
        return Tracks((), none.boxes, none.scores, none.class_ids, ints, ints.copy())


@dataclass(frozen=True)
class FeatureLayout:
    """How the D values of a feature vector are laid out: appearance, kinematics, grid, classes.

    appearance: length of the mean-pooled (GAP) part, which is frozen and what the model
    reconstructs. kinematics: length of the kinematic part. grid: cells a side of the optional RoI
    grid (0: none), stored as ``grid * grid * appearance`` values, row by row, channels last.
    classes: of the detector, each with its highest score in the box (0: none stored).
    """

    appearance: int
    kinematics: int
    grid: int = 0
    classes: int = 0

    @property
    def dim(self) -> int:
        """Total length D of a feature vector."""
        return self.grid_slice.stop + self.classes

    @property
    def appearance_slice(self) -> slice:
        """Where the GAP feature lies in a vector."""
        return slice(0, self.appearance)

    @property
    def kinematics_slice(self) -> slice:
        """Where the kinematics lie in a vector."""
        return slice(self.appearance, self.appearance + self.kinematics)

    @property
    def grid_slice(self) -> slice:
        """Where the RoI grid lies in a vector."""
        start = self.appearance + self.kinematics
        return slice(start, start + self.grid * self.grid * self.appearance)

    @property
    def classes_slice(self) -> slice:
        """Where the class scores lie in a vector."""
        return slice(self.grid_slice.stop, self.dim)


@dataclass(frozen=True)
class TrackFeatures:
    """Tracks of one image with a feature vector each.

    stamp_ns: the image's own stamp. epoch: rises whenever tracker state was discarded.
    image_size: height, width. features ``(N, D)`` in the order of ``FeatureLayout``. feature_id:
    what made them.
    """

    stamp_ns: int
    epoch: int
    image_size: tuple[int, int]
    tracks: Tracks
    features: FloatArray
    feature_id: str


@dataclass(frozen=True)
class TrackWindows:
    """All tracks of one image, and the windows of those that are due.

    tracks: every track of the image (N). index ``(M,)``: the track each window belongs to.
    features ``(M, T, D)``: oldest step first, the newest last; unused leading steps are zero.
    times ``(M, T)``: seconds relative to `stamp_ns`, <= 0. valid ``(M, T)``: True where a step was
    observed. stays ``(M,)``: seconds that the window's object has stayed where it is, within two of
    its own box heights. observations ``(N,)``: steps held for each track, at most T.
    """

    stamp_ns: int
    epoch: int
    image_size: tuple[int, int]
    tracks: Tracks
    observations: IntArray
    index: IntArray
    features: FloatArray
    times: FloatArray
    valid: BoolArray
    stays: FloatArray
    feature_id: str

    @property
    def moving(self) -> BoolArray:
        """True ``(M,)`` where the window's object is one that only its movement shows."""
        return np.asarray(self.tracks.class_ids[self.index] == MOVING_OBJECT)

    @property
    def length(self) -> int:
        """Steps T of a window."""
        return int(self.features.shape[1])


@dataclass(frozen=True)
class AnomalyScores:
    """Scores of all tracks of one image.

    states ``(N,)``: AnomalyState. scores ``(N,)``: smoothed along the track, NaN where the state is
    WARMUP or INVALID. raw ``(N,)``: the same before smoothing. terms ``(N, K)``: standardised terms
    named by `term_names`; ``raw`` is their weighted sum. contributions ``(N, K)``: what each term
    adds to the smoothed score; ``scores`` is their sum, exactly. leading: name of the term that
    adds most, "" where there is none. cues: the same in words, such as "3.1x usual speed".
    threshold: scores at or above it are ANOMALOUS.
    """

    stamp_ns: int
    epoch: int
    image_size: tuple[int, int]
    tracks: Tracks
    observations: IntArray
    states: IntArray
    scores: FloatArray
    raw: FloatArray
    terms: FloatArray
    term_names: tuple[str, ...]
    contributions: FloatArray
    leading: tuple[str, ...]
    cues: tuple[str, ...]
    threshold: float
    model_id: str

    @property
    def frame_score(self) -> float:
        """Highest score of the image, NaN where no object is scored."""
        finite = self.scores[np.isfinite(self.scores)]
        return float(finite.max()) if len(finite) else float("nan")


@dataclass(frozen=True)
class AnomalyEvent:
    """Start or end of an object's anomalous behaviour.

    start_ns: stamp of the event's first image. duration: seconds up to now. box ``(4,)``: at the
    peak.
    """

    phase: EventPhase
    event_id: str
    track_id: str
    class_id: int
    start_ns: int
    duration: float
    peak_score: float
    threshold: float
    box: FloatArray
    model_id: str
