"""Subscriptions that know whether what they wait for arrives."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible, qos_policy_name_from_kind

from tao_anomaly.nodes import qos
from tao_anomaly.nodes.traffic import Recent

if TYPE_CHECKING:
    from tao_anomaly.nodes.stage_node import StageNode


class Input:
    """A subscription of a node, overridable by `qos_overrides`, that keeps account.

    What its publisher sent and the middleware did not bring is counted among the node's skipped
    messages. topic: its full name. arrivals: of the messages.
    """

    def __init__(
        self,
        node: StageNode,
        kind: type,
        topic: str,
        handle: Callable[[Any], None],
        profile: QoSProfile,
    ) -> None:
        self.topic = node.resolve_topic_name(topic)
        self.arrivals = Recent()
        self._node = node
        self._handle = handle
        self._latest = time.monotonic()
        self._sequence: int | None = None
        self._subscription = node.create_subscription(
            kind,
            topic,
            self._receive,  # type: ignore[arg-type]  # rclpy also gives the information it asks for
            copy.copy(profile),  # overrides are written into it
            qos_overriding_options=qos.overridable(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._tell_mismatch),
        )

    def close(self) -> None:
        """Receive no more."""
        self._node.destroy_subscription(self._subscription)

    def silence(self) -> float:
        """Return the seconds since the latest message, or since this input began."""
        return time.monotonic() - self._latest

    def publishers(self) -> tuple[list[str], list[str]]:
        """Return the names of the publishers that match, and why each of the others does not."""
        matching, others = [], []
        for info in self._node.get_publishers_info_by_topic(self.topic):
            name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            compatibility, reason = qos_check_compatible(
                info.qos_profile, self._subscription.qos_profile
            )
            if compatibility == QoSCompatibility.ERROR:
                others.append(f"{name}: {reason.removeprefix('ERROR: ').rstrip(';')}")
            else:
                matching.append(name)
        return matching, others

    def _receive(self, message: Any, info: dict[str, Any]) -> None:
        self._latest = time.monotonic()
        self.arrivals.add()
        self._count_lost(info["publication_sequence_number"])
        self._handle(message)

    def _count_lost(self, sequence: int) -> None:
        last, self._sequence = self._sequence, sequence
        if last is None or sequence <= last + 1 or self._node.count_publishers(self.topic) != 1:
            return  # nothing is missing, or these are another publisher's numbers
        self._node.skip("lost on its way", self.topic, count=sequence - last - 1)

    def _tell_mismatch(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        reasons = "; ".join(self.publishers()[1]) or "of an unknown node"
        self._node.get_logger().error(
            f"{self.topic}: nothing is received from a publisher of incompatible {policy}"
            f" ({reasons}); change it there, or here by the parameter"
            f" qos_overrides.{self.topic}.subscription.{policy.lower()}"
        )


def problems(source: Input, *, stale_after: float) -> Iterator[tuple[bool, str]]:
    """Yield what is wrong with an input now, and whether it is grave.

    stale_after: seconds without a message, though there is a publisher.
    """
    matching, others = source.publishers()
    for reason in others:
        yield True, f"incompatible quality of service on {source.topic}: {reason}"
    if not matching and not others:
        yield False, f"no publisher on {source.topic}"
    if len(matching) > 1:
        yield False, f"{len(matching)} publishers on {source.topic}: {', '.join(matching)}"
    if matching and source.silence() > stale_after:
        yield True, f"no message on {source.topic} for {source.silence():.1f} s"
