"""What a node says of its health on /diagnostics, once a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType

from tao_anomaly.nodes.inputs import problems

if TYPE_CHECKING:
    from tao_anomaly.nodes.parameters import Settings
    from tao_anomaly.nodes.settings import NodeSettings
    from tao_anomaly.nodes.stage_node import StageNode

TOPIC = "/diagnostics"  # one for all namespaces, as REP 107 has it; names carry the namespace
PERIOD = 1.0  # seconds, of the steady clock: a stopped /clock must not silence it
_MILLISECONDS = 1e3


class Diagnostics:
    """Publishes one status for a node: OK, WARN or ERROR, why, and its figures."""

    def __init__(self, node: StageNode, settings: Settings[NodeSettings]) -> None:
        self._node = node
        self._settings = settings
        self._skipped: Counter[str] = Counter()
        self._errors = 0
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, 10)
        node.create_timer(PERIOD, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish the status of now."""
        array = DiagnosticArray(status=[self.status()])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def status(self) -> DiagnosticStatus:
        """Return the status, and count from here for the next one."""
        found = list(self._problems())
        level = DiagnosticStatus.OK
        if found:
            grave = any(is_grave for is_grave, _ in found)
            level = DiagnosticStatus.ERROR if grave else DiagnosticStatus.WARN
        name = self._node.get_fully_qualified_name()
        return DiagnosticStatus(
            level=level,
            name=f"{name.lstrip('/')}: anomaly detection",
            message="; ".join(text for _, text in found) or "ok",
            hardware_id="",
            values=[KeyValue(key=key, value=value) for key, value in self._figures()],
        )

    def _problems(self) -> Iterator[tuple[bool, str]]:
        node = self._node
        if node.fault:
            yield True, node.fault
        if not node.active:
            yield False, f"not active: {node.lifecycle_state()}"
        if not node.enabled:
            yield False, "disabled by ~/enable"
        for source in list(node.inputs):
            yield from problems(source, stale_after=self._settings.value.stale_after)
        errors, self._errors = node.traffic.errors - self._errors, node.traffic.errors
        if errors:
            yield True, f"{errors} internal errors, the last: {node.traffic.last_error}"
        now = Counter(node.skipped)
        lately, self._skipped = now - self._skipped, now
        if lately:
            reasons = ", ".join(f"{count} {reason}" for reason, count in lately.items())
            yield False, f"left out since the last report: {reasons}"

    def _figures(self) -> Iterator[tuple[str, str]]:
        node, traffic = self._node, self._node.traffic
        yield "state", node.lifecycle_state()
        yield "answered", str(traffic.answered)
        yield "left out", str(sum(node.skipped.values()))
        for reason, count in sorted(node.skipped.items()):
            yield f"left out: {reason}", str(count)
        for source in list(node.inputs):
            yield f"rate of {source.topic} (Hz)", f"{source.arrivals.rate():.2f}"
            yield f"since the latest of {source.topic} (s)", f"{source.silence():.2f}"
        for name, recent in (
            ("latency from stamp to answer", traffic.latency),
            ("processing time", traffic.processing),
            ("time in the queue", traffic.waiting),
        ):
            for share, value in zip((50, 95), recent.percentiles(50, 95), strict=True):
                yield f"{name}, p{share} (ms)", f"{value * _MILLISECONDS:.1f}"
        for key, described in node.describe().items():
            yield key, str(described)
