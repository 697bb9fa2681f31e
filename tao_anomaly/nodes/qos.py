"""Quality of service of each kind of topic; users override it through `qos_overrides`."""

from __future__ import annotations

import copy

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

# A publisher of images is reliable, so that subscribers of both kinds match it.
IMAGE_SOURCE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
STAGE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
EVENTS = QoSProfile(
    depth=50,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
LABEL_INFO = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
OVERLAY = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# Only what happens from now on, not what a publisher kept of before.
NEW_EVENTS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
CLOCK = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


def image(depth: int = 1) -> QoSProfile:
    """Return sensor data quality; depth 1, for a late image is worth less than the next one."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def overridable() -> QoSOverridingOptions:
    """Return the options that let parameters override history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()


def advertise(node: Node, kind: type, topic: str, profile: QoSProfile) -> Publisher:
    """Return a publisher whose quality parameters may override."""
    # A copy: rclpy writes the overrides of one topic into the profile it is given.
    return node.create_publisher(
        kind, topic, copy.copy(profile), qos_overriding_options=overridable()
    )
