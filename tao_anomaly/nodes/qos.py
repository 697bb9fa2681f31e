"""Quality of service of each kind of topic; users override it through `qos_overrides`."""

from __future__ import annotations

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


def image(depth: int = 1) -> QoSProfile:
    """Return sensor data quality; depth 1, for a late image is worth less than the next one."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def overridable() -> QoSOverridingOptions:
    """Return the options that let parameters override history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()
