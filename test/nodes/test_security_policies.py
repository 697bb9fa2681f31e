"""The SROS2 policies allow what the nodes open, and nothing else."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

import rclpy
from rclpy.node import Node

from tao_anomaly.nodes import (
    detector_node,
    overlay_node,
    pipeline_node,
    replay_node,
    scorer_node,
    snapshot_node,
    track_buffer_node,
    video_source_node,
)

POLICIES = Path(__file__).resolve().parents[2] / "config" / "security" / "policies.xml"
NODES = {
    "detector": detector_node.DetectorNode,
    "track_buffer": track_buffer_node.TrackBufferNode,
    "scorer": scorer_node.ScorerNode,
    "pipeline": pipeline_node.PipelineNode,
    "overlay": overlay_node.OverlayNode,
    "snapshot": snapshot_node.SnapshotNode,
    "video_source": video_source_node.VideoSourceNode,
    "replay": replay_node.ReplayNode,
}
# Opened by settings other than the test's: use_sim_time, image_transport, an installed rosbag2.
BY_SETTING = {
    ("subscribe", "/clock"),
    ("subscribe", "/image_raw/compressed"),
    ("request", "/rosbag2_recorder/snapshot"),
}
Rights = set[tuple[str, str]]


def allowed(node: str) -> Rights:
    """Return what the policy of a node allows: how, and the full name."""
    rights: Rights = set()
    for profile in ElementTree.parse(POLICIES).iter("profile"):
        if profile.get("node") == node:
            for group in profile:
                for how, value in group.items():
                    assert value == "ALLOW"
                    names = [str(entry.text).replace("~", f"/{node}") for entry in group]
                    rights |= {(how, name if name[0] == "/" else f"/{name}") for name in names}
    return rights


def opened(node: Node) -> Rights:
    """Return what a node has opened."""
    lists = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
    }
    return {
        (how, name)
        for how, of_node in lists.items()
        for name, _ in of_node(node.get_name(), node.get_namespace())
    }


@pytest.fixture
def ros(domain: int, model: Path, weights: Path, ped2: Path, tmp_path: Path) -> Iterator[None]:
    parameters = {
        "model": str(model),
        "detector": {"weights": str(weights), "backend": "torch"},
        "source": str(ped2 / "Test" / "Test004"),
        "wait_for": "what_nobody_publishes",
        "snapshot": {"folder": str(tmp_path / "snapshots")},
        "overlay": {"camera_height": 3.0},
    }
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))
    rclpy.init(args=["--ros-args", "--params-file", str(settings)], domain_id=domain)
    yield
    rclpy.try_shutdown()


def test_each_node_may_open_what_it_opens_and_nothing_else(ros: None) -> None:
    for name, make in NODES.items():
        node = make()
        try:
            node.start()
            rights = opened(node)
        finally:
            node.close()
            node.destroy_node()
        assert rights <= allowed(name), name
        assert allowed(name) - rights <= BY_SETTING, name


def test_every_node_has_an_enclave_of_its_own() -> None:
    enclaves = list(ElementTree.parse(POLICIES).iter("enclave"))
    assert [e.get("path") for e in enclaves] == [f"/tao_anomaly/{name}" for name in NODES]
    assert [len(list(e.iter("profile"))) for e in enclaves] == [1] * len(NODES)
