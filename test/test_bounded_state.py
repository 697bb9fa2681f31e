"""What the stages hold stays bounded however long a stream is."""

from __future__ import annotations

import gc
import pickle

import numpy as np

from tao_anomaly.config import ScorerConfig, TrackerConfig, WindowConfig
from tao_anomaly.features.kinematics import KINEMATICS, KinematicsEstimator
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.events import EventDetector
from tao_anomaly.scoring.local_velocity import LocalVelocities
from tao_anomaly.scoring.nearest import Memory
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import Detections, FeatureLayout, TrackFeatures
from tao_anomaly.tracking.byte_track import ByteTracker
from tao_anomaly.windows import TrackBuffer

FRAMES, LIFE, OBJECTS = 5000, 4, 8  # 10,000 tracks of four images each
SIZE = (1700, 4200)


TERMS = ("speed", "appearance")


def detections(step: int) -> Detections:
    """One object that stays, and eight that jump elsewhere every four images."""
    column = 1 + step // LIFE % 40
    moving = [(100 * column, 200 * row) for row in range(OBJECTS)]
    corners = np.array([(0, 0), *moving], np.float32)
    boxes = np.concatenate([corners, corners + np.array([40, 80])], axis=1).astype(np.float32)
    count = len(boxes)
    return Detections(boxes, np.full(count, 0.9, np.float32), np.zeros(count, np.int64))


def scorer() -> Scorer:
    layout = FeatureLayout(appearance=2, kinematics=len(KINEMATICS))
    cues = Cues(
        layout=layout,
        scale=SceneScale(),
        appearances=Memory(np.array([[1, 0]], np.float32), np.zeros(1, np.bool_)),
        flows=Memory(np.zeros((1, DIRECTIONS), np.float32), np.zeros(1, np.bool_)),
        class_levels=np.zeros(0, np.float32),
        local=LocalVelocities.none(),
        term_names=TERMS,
    )
    description = {"rule": "fixed", "value": 0.5}
    calibration = Calibration(TERMS, (0, 0), (1, 1), (1, 1), 10.0, description)
    return Scorer(
        model=cues, calibration=calibration, feature_id="f", config=ScorerConfig(smoothing=0.2)
    )


def test_ten_thousand_short_tracks_leave_nothing_behind() -> None:
    tracker, kinematics = ByteTracker(TrackerConfig()), KinematicsEstimator(span=0.5)
    buffer, scoring = TrackBuffer(WindowConfig()), scorer()
    events = EventDetector(ScorerConfig(event_start=0.1))
    random = np.random.default_rng(0)
    ids: set[str] = set()
    started = 0
    held: list[dict[str, int]] = []
    for step in range(FRAMES):
        stamp_ns = step * 10**8
        tracks = tracker.update(detections(step), stamp_ns)
        appearance = random.normal(0, 2, (len(tracks), 2)).astype(np.float32)
        flow = np.zeros((len(tracks), DIRECTIONS), np.float32)
        moved = kinematics.update(tracks, stamp_ns, SIZE)
        features = np.concatenate([appearance, moved, flow], axis=1)
        image = TrackFeatures(stamp_ns, 0, SIZE, tracks, features, "f")
        started += len(events.update(scoring.update(buffer.update(image))))
        ids |= set(tracks.ids)
        if step % 500 == 499:
            stages = {"tracker": tracker, "kinematics": kinematics, "buffer": buffer}
            stages |= {"scorer": scoring, "events": events}
            held.append({name: len(pickle.dumps(vars(stage))) for name, stage in stages.items()})
            held[-1]["objects"] = len(gc.get_objects()) - len(held)
    assert len(ids) - 1 == FRAMES // LIFE * OBJECTS == 10_000
    assert started > 1000
    first, last = held[1], held[-1]
    for name, size in last.items():
        # Ids grow by a digit, and the few episodes under way differ from image to image.
        assert size < 1.1 * first[name] + 2000, name
