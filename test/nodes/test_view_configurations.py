"""What the viewers are told to show is what the nodes send."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="no rclpy: make setup, then make test")

from rclpy.qos import DurabilityPolicy, HistoryPolicy, ReliabilityPolicy

from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.settings import SourceSettings

CONFIG = Path(__file__).resolve().parents[2] / "config"
RVIZ = yaml.safe_load((CONFIG / "rviz" / "anomaly.rviz").read_text())["Visualization Manager"]
# RViz class of each topic's message type
CLASSES = {
    "rviz_default_plugins/Image": topics.OVERLAY,
    "rviz_default_plugins/MarkerArray": topics.MARKERS,
}
SPOKEN = {
    "Reliable": ReliabilityPolicy.RELIABLE,
    "Best Effort": ReliabilityPolicy.BEST_EFFORT,
    "Volatile": DurabilityPolicy.VOLATILE,
    "Transient Local": DurabilityPolicy.TRANSIENT_LOCAL,
    "Keep Last": HistoryPolicy.KEEP_LAST,
}


def test_rviz_shows_the_topics_with_their_quality_of_service() -> None:
    shown = {display["Class"]: display["Topic"] for display in RVIZ["Displays"]}
    assert {name: topic["Value"] for name, topic in shown.items()} == {
        name: f"/{topic}" for name, topic in CLASSES.items()
    }
    for topic in shown.values():
        asked = [SPOKEN[topic[f"{policy} Policy"]] for policy in ("Reliability", "Durability")]
        # Equal, so that what is sent matches what is asked.
        assert asked == [qos.OVERLAY.reliability, qos.OVERLAY.durability]
        assert SPOKEN[topic["History Policy"]] == HistoryPolicy.KEEP_LAST
        assert topic["Depth"] == qos.OVERLAY.depth


def test_rviz_looks_from_the_frame_of_the_images() -> None:
    frame = SourceSettings().frame_id
    assert RVIZ["Global Options"]["Fixed Frame"] == frame
    assert RVIZ["Views"]["Current"]["Target Frame"] == frame


def test_foxglove_shows_the_topics() -> None:
    layout = json.loads((CONFIG / "foxglove" / "anomaly.json").read_text())
    panels = layout["configById"]
    image = panels["Image!overlay"]["imageMode"]
    assert image["imageTopic"] == f"/{topics.IMAGE}"
    assert list(image["annotations"]) == [f"/{topics.ANNOTATIONS}"]
    assert list(panels["3D!ground"]["topics"]) == [f"/{topics.MARKERS}"]
    assert panels["RawMessages!events"]["topicPath"] == f"/{topics.EVENTS}"
    plotted = [path["value"] for path in panels["Plot!scores"]["paths"]]
    assert plotted == [f"/{topics.ANOMALIES}.frame_score", f"/{topics.ANOMALIES}.threshold"]
    placed = set(leaves(layout["layout"]))
    assert placed == set(panels)


def leaves(part: object) -> list[str]:
    return [part] if isinstance(part, str) else leaves(part["first"]) + leaves(part["second"])
