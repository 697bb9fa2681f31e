"""Scores as annotations and markers, and the node that sends them only to those who listen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

import rclpy
from foxglove_msgs.msg import ImageAnnotations, PointsAnnotation
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray
from visualization_msgs.msg import Marker, MarkerArray

from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.annotations import ground_camera, ground_markers, image_annotations
from tao_anomaly.nodes.conversions import scores_message
from tao_anomaly.nodes.image_conversions import image_message, to_time
from tao_anomaly.nodes.overlay_node import OverlayNode
from tao_anomaly.structures import AnomalyScores, AnomalyState, TrackFeatures
from tao_anomaly.visualization.history import SceneHistory

NAMES = {0: "person"}
INFO = CameraInfo(k=[500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0])


@pytest.fixture
def scores(make_features: Callable[..., TrackFeatures]) -> AnomalyScores:
    """A normal object and an anomalous one, with a second of the way of both behind them."""
    boxes = [[310, 280, 330, 340], [100, 100, 140, 200]]
    image = make_features(2.0, {"0-1": [0] * 3, "0-2": [0] * 3}, boxes=boxes)
    values = np.array([1.0, 5.0], np.float32)
    return AnomalyScores(
        stamp_ns=image.stamp_ns,
        epoch=0,
        image_size=(480, 640),
        tracks=image.tracks,
        observations=np.array([4, 4]),
        states=np.array([AnomalyState.NORMAL, AnomalyState.ANOMALOUS], np.int64),
        scores=values,
        raw=values,
        terms=values[:, None],
        term_names=("speed",),
        contributions=values[:, None],
        leading=("speed", "speed"),
        cues=("nothing unusual", "3.1x usual speed"),
        threshold=2.0,
        model_id="m",
    )


@pytest.fixture
def header() -> Header:
    return Header(stamp=to_time(2_000_000_000), frame_id="camera")


def points(annotation: PointsAnnotation) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in annotation.points]


def test_annotations_are_boxes_bars_and_labels(scores: AnomalyScores, header: Header) -> None:
    history = SceneHistory()
    history.update(scores)
    made = image_annotations(scores, NAMES, history, header)
    message = deserialize_message(serialize_message(made), ImageAnnotations)
    box, bar = message.points[:2]  # the anomaly comes last, over the others
    assert points(box) == [(310, 280), (330, 280), (330, 340), (310, 340)]
    assert (box.type, box.thickness) == (PointsAnnotation.LINE_LOOP, 1.0)
    assert points(bar) == [(310, 278), (320, 278)]  # half of the threshold
    assert points(message.points[3]) == [(100, 98), (140, 98)]
    assert message.points[2].outline_color.r == pytest.approx(213 / 255)
    texts = [text.text for text in message.texts]
    assert texts == ["1 person", "2 person 5.0  3.1x usual speed"]
    assert {text.timestamp.sec for text in message.texts} == {2}


def test_markers_stand_where_the_boxes_do(scores: AnomalyScores, header: Header) -> None:
    camera = ground_camera(INFO, height=3.0, pitch=0.0)
    message = ground_markers(scores, NAMES, camera, header)
    first, cylinder = message.markers
    assert first.action == Marker.DELETEALL
    place = cylinder.pose.position
    # 15 m ahead and 3 m down, half its height of 1.8 m over the ground; the other is in the sky
    assert (place.x, place.y, place.z) == pytest.approx((0, 3 - 0.9, 15))
    assert (cylinder.scale.x, cylinder.scale.z) == pytest.approx((0.6, 1.8))
    turn = cylinder.pose.orientation
    assert (turn.x, turn.w) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))  # z to minus y
    assert cylinder.header == header


def test_an_anomaly_on_the_ground_has_a_label(scores: AnomalyScores, header: Header) -> None:
    camera = ground_camera(INFO, height=3.0, pitch=30.0)
    markers = ground_markers(scores, NAMES, camera, header).markers
    kinds = [marker.type for marker in markers[1:]]
    assert kinds == [Marker.CYLINDER, Marker.CYLINDER, Marker.TEXT_VIEW_FACING]
    assert markers[-1].text == "2 person 5.0\n3.1x usual speed"


@pytest.fixture
def node(domain: int) -> Iterator[OverlayNode]:
    arguments = ["-p", "overlay.camera_height:=3.0", "-p", "overlay.camera_pitch:=30.0"]
    rclpy.init(args=["--ros-args", *arguments], domain_id=domain)
    made = OverlayNode()
    made.configure()
    made.activate()
    yield made
    made.close()
    made.destroy_node()
    rclpy.try_shutdown()


def test_the_node_sends_only_what_somebody_listens_to(
    node: OverlayNode, scores: AnomalyScores, header: Header
) -> None:
    other = rclpy.create_node("viewer")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(other)

    def until(holds: Callable[[], object]) -> None:
        for _ in range(600):
            if holds():
                return
            executor.spin_once(timeout_sec=0.1)
        raise AssertionError("not within 60 s")

    def published(kind: type, topic: str, profile) -> object:
        publisher = other.create_publisher(kind, topic, profile)
        until(publisher.get_subscription_count)
        return publisher

    anomalies = published(AnomalyArray, topics.ANOMALIES, qos.STAGE)
    images = published(Image, topics.IMAGE, qos.IMAGE_SOURCE)
    info = published(CameraInfo, topics.CAMERA_INFO, qos.IMAGE_SOURCE)
    received: dict[type, list[object]] = {ImageAnnotations: [], MarkerArray: [], Image: []}
    sent: list[type] = []
    for kind, name in (
        (ImageAnnotations, "_annotations"),
        (MarkerArray, "_markers"),
        (Image, "_publisher"),
    ):
        publisher = getattr(node, name)
        real = publisher.publish
        publisher.publish = lambda m, kind=kind, real=real: (sent.append(kind), real(m))

    def show() -> None:
        executor.spin_once(timeout_sec=0.1)
        picture = np.zeros((480, 640, 3), np.uint8)
        images.publish(image_message(picture, header))
        until(lambda: node._images)
        node._history._now = -1  # so that its coming shows
        anomalies.publish(scores_message(scores, header, window_length=4))
        until(lambda: node._history._now == scores.stamp_ns)

    INFO.header = header
    info.publish(INFO)
    until(lambda: node._camera)
    show()
    assert sent == []
    for kind, topic in (
        (ImageAnnotations, topics.ANNOTATIONS),
        (MarkerArray, topics.MARKERS),
        (Image, topics.OVERLAY),
    ):
        sent.clear()
        reader = other.create_subscription(kind, topic, received[kind].append, qos.OVERLAY)
        publishers = [p for p in node.publishers if p.topic_name == f"/{topic}"]
        until(publishers[0].get_subscription_count)
        show()
        until(lambda kind=kind: received[kind])
        assert sent == [kind]
        other.destroy_subscription(reader)
        until(lambda publishers=publishers: not publishers[0].get_subscription_count())
    other.destroy_node()
