"""Structures to messages and back.

Arrays cross as one copy of memory, never element by element. What comes in is checked: sizes that
do not fit raise ValueError.
"""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from std_msgs.msg import Header
from tao_anomaly_msgs import msg as messages
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)

from tao_anomaly.nodes.image_conversions import to_nanoseconds, to_time
from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
    FloatArray,
    TrackFeatures,
    Tracks,
    TrackState,
    TrackWindows,
)


def box_message(box: FloatArray) -> BoundingBox2D:
    """Return a box ``(4,)``, x1 y1 x2 y2, as centre and size."""
    x1, y1, x2, y2 = (float(side) for side in box)
    message = BoundingBox2D(size_x=x2 - x1, size_y=y2 - y1)
    message.center.position.x, message.center.position.y = (x1 + x2) / 2, (y1 + y2) / 2
    return message


def box_sides(message: BoundingBox2D) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of an unrotated box message."""
    x, y = message.center.position.x, message.center.position.y
    return (
        x - message.size_x / 2,
        y - message.size_y / 2,
        x + message.size_x / 2,
        y + message.size_y / 2,
    )


def track_messages(tracks: Tracks) -> list[messages.TrackFeature]:
    """Return one message a track."""
    return [
        messages.TrackFeature(
            id=tracks.ids[i],
            class_id=str(int(tracks.class_ids[i])),
            score=float(tracks.scores[i]),
            bbox=box_message(tracks.boxes[i]),
            age=int(tracks.ages[i]),
            state=int(tracks.states[i]),
        )
        for i in range(len(tracks))
    ]


def detections_message(tracks: Tracks, header: Header) -> Detection2DArray:
    """Return tracks in the standard form of vision_msgs."""
    found = []
    for i in range(len(tracks)):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = str(int(tracks.class_ids[i]))
        result.hypothesis.score = float(tracks.scores[i])
        box = box_message(tracks.boxes[i])
        found.append(Detection2D(header=header, results=[result], bbox=box, id=tracks.ids[i]))
    return Detection2DArray(header=header, detections=found)


def label_info_message(
    class_names: Mapping[int, str], threshold: float, header: Header
) -> LabelInfo:
    """Return the names of the detector's classes and its lowest confidence."""
    named = [VisionClass(class_id=i, class_name=name) for i, name in class_names.items()]
    return LabelInfo(header=header, class_map=named, threshold=threshold)


def class_names_from(message: LabelInfo) -> dict[int, str]:
    """Return the name of each class."""
    return {entry.class_id: entry.class_name for entry in message.class_map}


def features_message(features: TrackFeatures, header: Header) -> messages.TrackFeatureArray:
    """Return the tracks and features of one image; `header` is the image's."""
    return messages.TrackFeatureArray(
        header=header,
        **_shared_fields(features),
        feature_id=features.feature_id,
        tracks=track_messages(features.tracks),
        feature_dim=int(features.features.shape[1]),
        features=_floats(features.features),
    )


def features_from(message: messages.TrackFeatureArray) -> TrackFeatures:
    """Return the structure of a message; raises ValueError where its sizes do not fit."""
    count, dim = len(message.tracks), message.feature_dim
    return TrackFeatures(
        stamp_ns=to_nanoseconds(message.header.stamp),
        epoch=message.epoch,
        image_size=_image_size(message),
        tracks=_tracks_from(message.tracks, "state", "score"),
        features=_table(message, "features", (count, dim)),
        feature_id=message.feature_id,
    )


def windows_message(windows: TrackWindows, header: Header) -> messages.TrackWindowArray:
    """Return the tracks and due windows of one image; `header` is the image's."""
    return messages.TrackWindowArray(
        header=header,
        **_shared_fields(windows),
        feature_id=windows.feature_id,
        tracks=track_messages(windows.tracks),
        observations=_numbers("H", windows.observations, np.uint16),
        index=_numbers("H", windows.index, np.uint16),
        window_length=windows.length,
        feature_dim=int(windows.features.shape[2]),
        features=_floats(windows.features),
        times=_floats(windows.times),
        valid=_numbers("B", windows.valid, np.uint8),
        stays=_floats(windows.stays),
    )


def windows_from(message: messages.TrackWindowArray) -> TrackWindows:
    """Return the structure of a message; raises ValueError where its sizes do not fit."""
    count, due, length = len(message.tracks), len(message.index), message.window_length
    index = _table(message, "index", (due,)).astype(np.int64)
    if due and index.max() >= count:
        raise ValueError(f"index: got {index.max()}, expected less than the {count} tracks")
    return TrackWindows(
        stamp_ns=to_nanoseconds(message.header.stamp),
        epoch=message.epoch,
        image_size=_image_size(message),
        tracks=_tracks_from(message.tracks, "state", "score"),
        observations=_table(message, "observations", (count,)).astype(np.int64),
        index=index,
        features=_table(message, "features", (due, length, message.feature_dim)),
        times=_table(message, "times", (due, length)),
        valid=_table(message, "valid", (due, length)).astype(np.bool_),
        stays=_table(message, "stays", (due,)),
        feature_id=message.feature_id,
    )


def scores_message(
    scores: AnomalyScores, header: Header, *, window_length: int
) -> messages.AnomalyArray:
    """Return the scores of one image; `header` is the image's."""
    return messages.AnomalyArray(
        header=header,
        **_shared_fields(scores),
        model_id=scores.model_id,
        window_length=window_length,
        threshold=scores.threshold,
        frame_score=scores.frame_score,
        term_names=list(scores.term_names),
        objects=[_score_message(scores, i) for i in range(len(scores.tracks))],
    )


def _score_message(scores: AnomalyScores, i: int) -> messages.AnomalyScore:
    tracks = scores.tracks
    return messages.AnomalyScore(
        id=tracks.ids[i],
        class_id=str(int(tracks.class_ids[i])),
        detection_score=float(tracks.scores[i]),
        bbox=box_message(tracks.boxes[i]),
        age=int(tracks.ages[i]),
        track_state=int(tracks.states[i]),
        observations=int(scores.observations[i]),
        state=int(scores.states[i]),
        score=float(scores.scores[i]),
        score_raw=float(scores.raw[i]),
        terms=_floats(scores.terms[i]),
        contributions=_floats(scores.contributions[i]),
        leading=scores.leading[i],
        cue=scores.cues[i],
    )


def scores_from(message: messages.AnomalyArray) -> AnomalyScores:
    """Return the structure of a message; raises ValueError where its sizes do not fit."""
    objects, names = message.objects, tuple(message.term_names)
    terms, contributions = np.zeros((2, len(objects), len(names)), np.float32)
    for i, entry in enumerate(objects):
        terms[i] = _table(entry, "terms", (len(names),))
        contributions[i] = _table(entry, "contributions", (len(names),))
    return AnomalyScores(
        stamp_ns=to_nanoseconds(message.header.stamp),
        epoch=message.epoch,
        image_size=_image_size(message),
        tracks=_tracks_from(objects, "track_state", "detection_score"),
        observations=np.array([o.observations for o in objects], np.int64),
        states=np.array([AnomalyState(o.state) for o in objects], np.int64),
        scores=np.array([o.score for o in objects], np.float32),
        raw=np.array([o.score_raw for o in objects], np.float32),
        terms=terms,
        term_names=names,
        contributions=contributions,
        leading=tuple(o.leading for o in objects),
        cues=tuple(o.cue for o in objects),
        threshold=message.threshold,
        model_id=message.model_id,
    )


def event_message(event: AnomalyEvent, header: Header) -> messages.AnomalyEvent:
    """Return an event; `header` is that of the image that started or ended it."""
    lasted = to_time(round(event.duration * NANOSECONDS))
    return messages.AnomalyEvent(
        header=header,
        phase=int(event.phase),
        event_id=event.event_id,
        track_id=event.track_id,
        class_id=str(int(event.class_id)),
        start=to_time(event.start_ns),
        duration=Duration(sec=lasted.sec, nanosec=lasted.nanosec),
        peak_score=event.peak_score,
        threshold=event.threshold,
        bbox=box_message(event.box),
        model_id=event.model_id,
    )


def event_from(message: messages.AnomalyEvent) -> AnomalyEvent:
    """Return the structure of a message; raises ValueError for an unknown phase or class."""
    return AnomalyEvent(
        phase=EventPhase(message.phase),
        event_id=message.event_id,
        track_id=message.track_id,
        class_id=_class_number(message.class_id),
        start_ns=to_nanoseconds(message.start),
        duration=to_nanoseconds(message.duration) / NANOSECONDS,
        peak_score=message.peak_score,
        threshold=message.threshold,
        box=np.array(box_sides(message.bbox), np.float32),
        model_id=message.model_id,
    )


def _shared_fields(structure: TrackFeatures | TrackWindows | AnomalyScores) -> dict[str, Any]:
    height, width = structure.image_size
    return {"epoch": structure.epoch, "image_height": height, "image_width": width}


def _image_size(message: Any) -> tuple[int, int]:
    if not message.image_height or not message.image_width:
        raise ValueError(
            f"got an image of {message.image_width}x{message.image_height}, expected at least 1x1"
        )
    return message.image_height, message.image_width


def _tracks_from(entries: Sequence[Any], state: str, score: str) -> Tracks:
    ids = tuple(entry.id for entry in entries)
    if len(set(ids)) < len(ids):
        raise ValueError(f"got track ids {', '.join(ids)}, expected each once")
    boxes = [box_sides(entry.bbox) for entry in entries]
    return Tracks(
        ids=ids,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array([getattr(entry, score) for entry in entries], np.float32),
        class_ids=np.array([_class_number(entry.class_id) for entry in entries], np.int64),
        ages=np.array([entry.age for entry in entries], np.int64),
        states=np.array([TrackState(getattr(entry, state)) for entry in entries], np.int64),
    )


def _class_number(class_id: str) -> int:
    if not class_id.isdecimal() or len(class_id) > 9:
        raise ValueError(f"class_id: got {class_id!r}, expected a decimal number of 1 to 9 digits")
    return int(class_id)


def _table(message: Any, field: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(getattr(message, field))
    needed = int(np.prod(shape, dtype=np.int64))
    if len(values) != needed:
        sides = " x ".join(map(str, shape))
        raise ValueError(f"{field}: got {len(values)} values, expected {sides} = {needed}")
    return values.reshape(shape)


def _floats(values: FloatArray) -> array.array[float]:
    return array.array("f", np.ascontiguousarray(values, np.float32).tobytes())


def _numbers(code: str, values: np.ndarray, dtype: type) -> array.array[int]:
    return array.array(code, np.ascontiguousarray(values, dtype).tobytes())
