"""Scores as vector graphics: Foxglove's image annotations, and markers on the ground."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from foxglove_msgs.msg import Color, ImageAnnotations, Point2, PointsAnnotation, TextAnnotation
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from tao_anomaly.structures import AnomalyScores, AnomalyState
from tao_anomaly.visualization.colours import STATE_RGB, text_on
from tao_anomaly.visualization.ground_plane import GroundCamera
from tao_anomaly.visualization.history import SceneHistory
from tao_anomaly.visualization.overlay import object_label, threshold_share

_FONT_SIZE = 12.0  # pixels of the image
_TEXT_HEIGHT = 0.35  # metres
_OPAQUE = 1.0


def image_annotations(
    scores: AnomalyScores,
    class_names: Mapping[int, str],
    history: SceneHistory,
    header: Header,
) -> ImageAnnotations:
    """Return boxes, trails, score bars and labels in pixels of the source image."""
    message = ImageAnnotations()
    for row in np.argsort(scores.states == AnomalyState.ANOMALOUS, kind="stable"):
        state = AnomalyState(int(scores.states[row]))
        colour = _colour(STATE_RGB[state])
        x1, y1, x2, y2 = map(float, scores.tracks.boxes[row])
        thick = 2.0 if state == AnomalyState.ANOMALOUS else 1.0
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        trail = history.trail(scores.tracks.ids[row])
        bar = x1 + (x2 - x1) * threshold_share(float(scores.scores[row]), scores.threshold)
        kinds = PointsAnnotation
        for kind, points, width in (
            (kinds.LINE_LOOP, corners, thick),
            (kinds.LINE_STRIP, trail, 2.0),
            (kinds.LINE_LIST, [(x1, y1 - 2), (bar, y1 - 2)] if bar > x1 else [], 4.0),
        ):
            if len(points) > 1:
                message.points.append(_lines(kind, points, colour, width, header))
        text = "  ".join(filter(None, object_label(scores, int(row), class_names)))
        message.texts.append(
            TextAnnotation(
                timestamp=header.stamp,
                position=Point2(x=x1, y=y1 - 5),
                text=text,
                font_size=_FONT_SIZE,
                text_color=_colour(text_on(state)),
                background_color=colour,
            )
        )
    return message


def ground_camera(info: CameraInfo, *, height: float, pitch: float) -> GroundCamera:
    """Return the camera of a CameraInfo; pitch in degrees. Raises ValueError."""
    return GroundCamera(
        matrix=np.array(info.k, np.float64).reshape(3, 3),
        distortion=np.array(info.d, np.float64),
        height=height,
        pitch=math.radians(pitch),
    )


def ground_markers(
    scores: AnomalyScores, class_names: Mapping[int, str], camera: GroundCamera, header: Header
) -> MarkerArray:
    """Return a cylinder for each object that stands on the ground, in the frame of `header`.

    header: that of the image, whose frame is the camera's optical one. Anomalies carry their label.
    The first marker deletes those of the image before.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    feet, sizes = camera.standing(scores.tracks.boxes)
    for row in np.flatnonzero(np.isfinite(feet).all(axis=1)):
        markers += _object_markers(scores, int(row), class_names, camera, header, feet, sizes)
    return MarkerArray(markers=markers)


def _object_markers(
    scores: AnomalyScores,
    row: int,
    class_names: Mapping[int, str],
    camera: GroundCamera,
    header: Header,
    feet: np.ndarray,
    sizes: np.ndarray,
) -> Iterator[Marker]:
    state = AnomalyState(int(scores.states[row]))
    width, height = map(float, sizes[row])
    turn = (math.pi / 2 + camera.pitch) / 2  # about x: from the frame's z to upwards
    upright = Quaternion(x=math.sin(turn), w=math.cos(turn))
    middle = feet[row] - camera.down * height / 2
    yield Marker(
        header=header,
        ns="objects",
        id=row,
        type=Marker.CYLINDER,
        pose=Pose(position=_point(middle), orientation=upright),
        scale=Vector3(x=width, y=width, z=height),
        color=_rgba(STATE_RGB[state], 0.8),
    )
    if state == AnomalyState.ANOMALOUS:
        yield Marker(
            header=header,
            ns="labels",
            id=row,
            type=Marker.TEXT_VIEW_FACING,
            pose=Pose(position=_point(feet[row] - camera.down * (height + _TEXT_HEIGHT))),
            scale=Vector3(z=_TEXT_HEIGHT),
            color=_rgba((255, 255, 255), _OPAQUE),
            text="\n".join(filter(None, object_label(scores, row, class_names))),
        )


def _lines(
    kind: int,
    points: Sequence[tuple[float, float]],
    colour: Color,
    thickness: float,
    header: Header,
) -> PointsAnnotation:
    return PointsAnnotation(
        timestamp=header.stamp,
        type=kind,
        points=[Point2(x=float(x), y=float(y)) for x, y in points],
        outline_color=colour,
        thickness=thickness,
    )


def _colour(rgb: tuple[int, int, int]) -> Color:
    red, green, blue = (channel / 255 for channel in rgb)
    return Color(r=red, g=green, b=blue, a=_OPAQUE)


def _rgba(rgb: tuple[int, int, int], alpha: float) -> ColorRGBA:
    red, green, blue = (channel / 255 for channel in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def _point(place: np.ndarray) -> Point:
    x, y, z = map(float, place)
    return Point(x=x, y=y, z=z)
