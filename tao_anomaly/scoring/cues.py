"""Cues without training: speed, looks, movement in the box, kind, movement for its place, stay.

Each is compared with normal footage alone. They are a model of their own, and stand beside the
temporal MAE, whose view is relative: what is steadily unusual can be predicted from itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tao_anomaly.config import WindowConfig
from tao_anomaly.detection.postprocess import LEAST_SCORE
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.config import ScoringConfig
from tao_anomaly.scoring.belief import Motion, NormalMotion, belief
from tao_anomaly.scoring.local_velocity import LocalVelocities, told
from tao_anomaly.scoring.long_stay import beyond, long_stay
from tao_anomaly.scoring.nearest import Memory, unit_length
from tao_anomaly.structures import (
    MOVING_OBJECT,
    BoolArray,
    FeatureLayout,
    FloatArray,
    IntArray,
    TrackFeatures,
    TrackWindows,
)
from tao_anomaly.windows import TrackBuffer

KIND = "cues"
_MEMORY = 4000  # most normal observations kept
_NEIGHBOURS = 5  # that a flow is compared with
_CLASS_LEVEL = 0.99  # share of normal objects whose score of a class is at most its level
_X, _Y = KINEMATICS.index("x"), KINEMATICS.index("y")
_LOG_HEIGHT = KINEMATICS.index("log_height")
_VELOCITY = slice(KINEMATICS.index("velocity_x"), KINEMATICS.index("velocity_y") + 1)
_FLOW = slice(KINEMATICS.index("flow_0"), KINEMATICS.index("flow_0") + DIRECTIONS)


@dataclass(frozen=True)
class Cues:
    """Scores the newest step of a window by the cues `term_names`.

    speed: person heights a second, less where its standard error is large or no flow goes along,
    by `normal_motion`. appearance: distance of the
    GAP feature, at length 1, to the nearest of `appearances`. flow: mean distance of the flow, in
    person heights a second, to the nearest of `flows`. class: how far the class scores in the box,
    parts and all, are beyond `class_levels` ``(C,)``, which hardly any normal object exceeds.
    local_velocity: distance of the velocity, in person heights a second, to those of `local` that
    were seen near there, less as the speed is. stay: how far the seconds that the
    object has stayed where it is are beyond `long_stay`, 0 where the camera moves: no place stays.
    """

    layout: FeatureLayout
    scale: SceneScale
    appearances: Memory
    flows: Memory
    class_levels: FloatArray
    local: LocalVelocities
    term_names: tuple[str, ...]
    normal_motion: NormalMotion = field(default_factory=NormalMotion)
    long_stay: float = math.inf

    @staticmethod
    def fit(
        clips: Sequence[Sequence[TrackFeatures]],
        *,
        layout: FeatureLayout,
        seed: int = 0,
        camera_motion: str = "static",
        windows: WindowConfig | None = None,
        terms: Sequence[str] | None = None,
    ) -> Cues:
        """Fit on the images of normal clips; raises ValueError where no object was tracked.

        camera_motion: of the tracker's settings; only a static camera's scene has a scale. windows:
        of those to be scored, the usual ones where None. terms: names of CUES, all where None.
        """
        images = [image for clip in clips for image in clip if len(image.tracks)]
        if not images:
            raise ValueError(
                "got no tracked object in the normal footage, expected some; check the footage, the"
                " detector's weights and its confidence"
            )
        seen = np.concatenate([image.features for image in images])
        rows = _drawn(np.arange(len(seen)), seed)
        class_ids = np.concatenate([image.tracks.class_ids for image in images])
        moving = class_ids == MOVING_OBJECT
        cues = Cues(
            layout=layout,
            scale=SceneScale.fit(images, camera_motion=camera_motion),
            appearances=Memory(unit_length(seen[rows, layout.appearance_slice]), moving[rows]),
            flows=Memory(np.zeros((0, 0), np.float32), moving[rows]),
            class_levels=_class_levels(seen[:, layout.classes_slice][~moving]),
            local=LocalVelocities.none(),
            term_names=check_cues(tuple(CUES) if terms is None else terms),
            long_stay=long_stay(clips),
        )
        return replace(
            cues,
            flows=Memory(cues.flow(seen[rows]), moving[rows]),
            local=cues._seen_locally(clips, seen, seed),
            normal_motion=cues._usual_motion(clips, windows or WindowConfig()),
        )

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the terms in a score."""
        return tuple(_WEIGHTS[name] for name in self.term_names)

    @property
    def network_terms(self) -> tuple[str, ...]:
        """None: a cue needs no network."""
        return ()

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        """Return the raw terms ``(M, K)``; there is no network to run."""
        sight = Sight(self, windows)
        columns = [CUES[name](sight) for name in self.term_names]
        return np.stack(columns, axis=1).astype(np.float32)

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Return the speed ``(M,)`` of the newest step in person heights a second."""
        return _speed(Sight(self, windows))

    def velocities(self, features: FloatArray) -> FloatArray:
        """Return the velocity ``(N, 2)`` of features ``(N, D)`` in person heights a second."""
        velocity = features[:, self.layout.kinematics_slice][:, _VELOCITY]
        return np.asarray(velocity / self.person_height(features)[:, None], np.float32)

    def flow(self, features: FloatArray) -> FloatArray:
        """Return the flow of features ``(N, D)`` in person heights a second."""
        flow = features[:, self.layout.kinematics_slice][:, _FLOW]
        return np.asarray(flow / self.person_height(features)[:, None], np.float32)

    def _usual_motion(
        self, clips: Sequence[Sequence[TrackFeatures]], windows: WindowConfig
    ) -> NormalMotion:
        motions = []
        for clip in clips:
            buffer = TrackBuffer(windows)
            cuts = (buffer.update(image) for image in clip)
            motions += [Sight(self, cut).motion for cut in cuts if len(cut.index)]
        return NormalMotion.fit(motions)

    def _seen_locally(
        self, clips: Sequence[Sequence[TrackFeatures]], seen: FloatArray, seed: int
    ) -> LocalVelocities:
        """Return the velocities that tracks tell; none where the camera moves: no place stays.

        seen ``(N, D)``: the features of all objects, in the order of the clips.
        """
        if not self.scale.lowest > 0:
            return LocalVelocities.none()
        rows = _drawn(np.flatnonzero(np.concatenate([told(clip) for clip in clips])), seed)
        images = [image for clip in clips for image in clip]
        aspects = np.repeat([_aspect(i) for i in images], [len(i.tracks) for i in images])
        return LocalVelocities(self.places(seen[rows], aspects[rows]), self.velocities(seen[rows]))

    def places(self, features: FloatArray, aspect: FloatArray | float) -> FloatArray:
        """Return the centres ``(N, 2)`` in image heights; aspect: of the image, width by height."""
        kinematics = features[:, self.layout.kinematics_slice]
        return np.stack([kinematics[:, _X] * aspect, kinematics[:, _Y]], axis=1).astype(np.float32)

    def person_height(self, features: FloatArray) -> FloatArray:
        """Return the height ``(N,)`` of a person where each object is, in image heights."""
        kinematics = features[:, self.layout.kinematics_slice]
        height = np.exp(kinematics[:, _LOG_HEIGHT]).astype(np.float32)
        return self.scale.person_height((kinematics[:, _Y] + height / 2).astype(np.float32), height)

    def config(self) -> dict[str, Any]:
        """Return what the artifact's JSON holds."""
        return {"scene_scale": asdict(self.scale), "cues": list(self.term_names)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what the artifact's safetensors hold."""
        moving = {"cues.moving": self.appearances.moving.astype(np.float32)}
        return {
            **(moving if self.appearances.moving.any() else {}),
            "cues.appearances": self.appearances.values,
            "cues.flows": self.flows.values,
            "cues.class_levels": self.class_levels,
            "cues.places": self.local.places,
            "cues.velocities": self.local.velocities,
            "cues.jitter": np.array([self.normal_motion.jitter], np.float32),
            "cues.support": np.array([self.normal_motion.support], np.float32),
            "cues.long_stay": np.array([self.long_stay], np.float32),
        }


@dataclass(frozen=True)
class Sight:
    """Windows as cues see them: what several need is worked out once."""

    cues: Cues
    windows: TrackWindows

    @cached_property
    def newest(self) -> FloatArray:
        """Features ``(M, D)`` of the newest step."""
        return self.windows.features[:, -1]

    @cached_property
    def person(self) -> FloatArray:
        """Height ``(M,)`` of a person there, in image heights."""
        return self.cues.person_height(self.newest)

    @cached_property
    def motion(self) -> Motion:
        """How the objects move."""
        cues, windows, person = self.cues, self.windows, self.person[:, None, None]
        steps = windows.features.reshape(-1, windows.features.shape[2])
        places = cues.places(steps, _aspect(windows)).reshape(*windows.valid.shape, 2)
        flow = windows.features[..., cues.layout.kinematics_slice][..., _FLOW]
        velocity = cues.velocities(self.newest)
        return Motion(windows.times, windows.valid, places / person, velocity, flow / person)

    @cached_property
    def belief(self) -> FloatArray:
        """What the newest velocity counts ``(M,)``, 0 to 1."""
        return belief(self.motion, self.cues.normal_motion)


def _speed(sight: Sight) -> FloatArray:
    speed = np.linalg.norm(sight.motion.velocity, axis=1)
    return np.asarray(speed * sight.belief, np.float32)


def _appearance(sight: Sight) -> FloatArray:
    values = unit_length(sight.newest[:, sight.cues.layout.appearance_slice])
    return sight.cues.appearances.distance(values, sight.windows.moving, 1)


def _flow(sight: Sight) -> FloatArray:
    values = sight.cues.flow(sight.newest)
    return sight.cues.flows.distance(values, sight.windows.moving, _NEIGHBOURS)


def _class(sight: Sight) -> FloatArray:
    """Sum of log(score / level) over the classes above their level.

    0 for what only its movement shows: the detector sees no class there.
    """
    levels, scores = sight.cues.class_levels, sight.newest[:, sight.cues.layout.classes_slice]
    beyond_levels = np.log(np.maximum(scores, levels) / levels).sum(axis=1)
    return np.where(sight.windows.moving, 0.0, beyond_levels).astype(np.float32)


def _local_velocity(sight: Sight) -> FloatArray:
    places = sight.cues.places(sight.newest, _aspect(sight.windows))
    apart = sight.cues.local.distance(places, sight.motion.velocity, sight.person)
    return np.asarray(apart * sight.belief, np.float32)  # who stands is for `stay` to tell


def _class_levels(scores: FloatArray) -> FloatArray:
    """Return the level of each class of normal objects ``(N, C)``, at least `LEAST_SCORE`."""
    if not len(scores):
        return np.full(scores.shape[1], LEAST_SCORE, np.float32)
    return np.maximum(np.quantile(scores, _CLASS_LEVEL, axis=0), LEAST_SCORE).astype(np.float32)


def _stay(sight: Sight) -> FloatArray:
    if not sight.cues.scale.lowest > 0:
        return np.zeros(len(sight.windows.index), np.float32)
    return beyond(sight.windows.stays, sight.cues.long_stay)


CUES: dict[str, Callable[[Sight], FloatArray]] = {
    "speed": _speed,
    "appearance": _appearance,
    "flow": _flow,
    "class": _class,
    "local_velocity": _local_velocity,
    "stay": _stay,
}

_WEIGHTS = dict(zip(ScoringConfig.cues, ScoringConfig.cue_weights, strict=True))


def check_cues(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names; raises ValueError for one that is no cue."""
    unknown = sorted(set(names) - set(CUES))
    if unknown:
        raise ValueError(f"cues: got {', '.join(unknown)}, expected some of {', '.join(CUES)}")
    return tuple(names)


def _aspect(seen: TrackFeatures | TrackWindows) -> float:
    """Return the width of an image by its height."""
    return seen.image_size[1] / seen.image_size[0]


def _drawn(rows: IntArray, seed: int) -> IntArray:
    """Return _MEMORY of the rows, in order; all where there are no more."""
    if len(rows) <= _MEMORY:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, _MEMORY, replace=False))
