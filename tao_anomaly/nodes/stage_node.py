"""What all nodes share: lifecycle, services, the account of each message, and their process."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeAlias

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from std_srvs.srv import SetBool, Trigger

from tao_anomaly.nodes.diagnostics import Diagnostics
from tao_anomaly.nodes.inputs import Input
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import NodeSettings
from tao_anomaly.nodes.traffic import Traffic
from tao_anomaly.structures import NANOSECONDS

Endpoint: TypeAlias = Publisher | Subscription

THROTTLE = 5.0  # seconds between warnings of one kind


class SkippedError(Exception):
    """A message that is left out; its first argument is the reason, a second one the details."""


class StageNode(LifecycleNode):
    """A lifecycle node that answers messages and accounts for each of them.

    Subclasses declare parameters in their constructor and override the steps: `configure` makes
    publishers, loads and tests, `activate` subscribes, `deactivate` stops, `cleanup` releases,
    `reset_stream` forgets the stream. The first two may raise: the transition fails then, with the
    reason in the log. Publishers and subscriptions end with the step that undoes the one that made
    them.

    answered: messages answered. skipped: those left out, by reason. Every message that arrives is
    one or the other. fault: what keeps the node from doing its work, "" for nothing. inputs: its
    subscriptions while active. enabled: False while `~/enable` has it leave messages out. lock:
    held while a message is worked on, whatever the thread. exit_status: of the process.
    """

    def __init__(self, name: str, *, cli_args: list[str] | None = None) -> None:
        super().__init__(name, cli_args=cli_args)
        self.traffic = Traffic()
        self.skipped: Counter[str] = Counter()
        self.fault = ""
        self.inputs: list[Input] = []
        self.lock = RLock()
        self.configured = self.active = False
        self.enabled = True
        self.exit_status = 0
        self._said: dict[str, float] = {}
        self._made: dict[str, set[Endpoint]] = {}
        self._settings_of_node = Settings(self, NodeSettings)
        self._diagnostics = Diagnostics(self, self._settings_of_node)
        self.create_service(Trigger, "~/reset", self._serve_reset)
        self.create_service(SetBool, "~/enable", self._serve_enable)

    @property
    def autostart(self) -> bool:
        """Whether the process configures and activates the node on its own."""
        return self._settings_of_node.value.autostart

    @property
    def answered(self) -> int:
        """Messages answered so far."""
        return self.traffic.answered

    def configure(self) -> None:
        """Load and check what the node needs; raises ValueError or OSError with the remedy."""

    def activate(self) -> None:
        """Begin to receive."""

    def deactivate(self) -> None:
        """Stop what `activate` began beside its inputs; nothing is received any more."""

    def cleanup(self) -> None:
        """Release what `configure` took."""

    def reset_stream(self) -> None:
        """Forget everything that belongs to the stream: tracks, windows, averages."""

    def describe(self) -> dict[str, object]:
        """Return what diagnostics should say of this node beside its traffic."""
        return {}

    # -- lifecycle ---------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; on failure everything taken is released again."""
        return self._attempt("configure", self._configure, self._cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; on failure the node is inactive again."""
        return self._attempt("activate", self._activate, self._deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving and forget the stream."""
        return self._attempt("deactivate", self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        return self._attempt("clean up", self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from whatever state."""
        return self._attempt("shut down", self.close)

    def start(self) -> None:
        """Configure and activate; raises ValueError with the reason where that fails."""
        for step in (self.trigger_configure, self.trigger_activate):
            if step() != TransitionCallbackReturn.SUCCESS:
                raise ValueError(self.fault)
        self.get_logger().info("ready")

    def close(self) -> None:
        """Stop and release, whatever the state."""
        if self.active:
            self._deactivate()
        if self.configured:
            self._cleanup()

    def lifecycle_state(self) -> str:
        """Return unconfigured, inactive, active or finalized."""
        return str(self._state_machine.current_state[1])

    def _attempt(
        self, what: str, step: Callable[[], None], undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        try:
            step()
        except Exception as error:
            if not self.context.ok():
                raise  # the process was told to end meanwhile
            known = isinstance(error, ValueError | OSError | ParameterException)
            self.fault = str(error) if known else f"internal error: {error!r}"
            trace = "" if known else f"\n{traceback.format_exc()}"
            self.get_logger().error(f"cannot {what}: {self.fault}{trace}")
            if undo is not None:
                undo()
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self.configured, self.fault = True, ""
        self._made["configure"] = self._endpoints()
        self.configure()

    def _activate(self) -> None:
        self.active = True
        self.traffic.restart()
        self._made["activate"] = self._endpoints()
        self.activate()

    def _deactivate(self) -> None:
        self.active = False
        while self.inputs:
            self.inputs.pop().close()
        self.deactivate()
        self._destroy_made_by("activate")
        self.reset_stream()
        left_out = sum(self.skipped.values())
        self.get_logger().info(
            f"{self.answered} messages answered, {left_out} left out {dict(self.skipped)}"
        )

    def _cleanup(self) -> None:
        self.configured = False
        self.cleanup()
        self._destroy_made_by("configure")

    def _endpoints(self) -> set[Endpoint]:
        return {*self.publishers, *self.subscriptions}

    def _destroy_made_by(self, step: str) -> None:
        for endpoint in self._endpoints() - self._made[step]:
            if isinstance(endpoint, Publisher):
                self.destroy_publisher(endpoint)
            else:
                self.destroy_subscription(endpoint)

    # -- messages ----------------------------------------------------------------------------

    def listen(
        self, kind: type, topic: str, handle: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Subscribe until the node is deactivated; `handle` must not raise."""
        self.inputs.append(Input(self, kind, topic, handle, profile))

    def guarded(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a callback that counts and tells why a message could not be handled.

        No message may end the process, whatever is wrong with it.
        """

        def callback(message: Any) -> None:
            with self.lock, self._accounted():
                handle(message)

        return callback

    def answering(self, answer: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a guarded callback that measures each answer."""

        def measured(message: Any) -> None:
            if not self.enabled:
                raise SkippedError("disabled")
            started = time.monotonic()
            answer(message)
            stamp = message.header.stamp
            now = self.get_clock().now().nanoseconds / NANOSECONDS
            self.traffic.count_answer(
                processing=time.monotonic() - started,
                latency=now - stamp.sec - stamp.nanosec / NANOSECONDS,
            )

        return self.guarded(measured)

    @contextmanager
    def _accounted(self) -> Iterator[None]:
        try:
            yield
        except SkippedError as error:
            self.skip(*error.args)
        except ValueError as error:
            self.skip("bad message", error)
        except Exception as error:
            # It may have stopped between two stages: what follows must not be spliced to it.
            self.reset_stream()
            self.traffic.count_error(repr(error))
            self.skip("internal error", traceback.format_exc())

    def skip(self, reason: str, detail: object = "", *, count: int = 1) -> None:
        """Count messages that are left out and say so, but of one reason not for each of many."""
        self.skipped[reason] += count
        now = time.monotonic()
        if now - self._said.get(reason, -THROTTLE) < THROTTLE:
            return
        self._said[reason] = now
        self.get_logger().warning(
            f"skipped, {reason} ({self.skipped[reason]} so far){f': {detail}' if detail else ''}"
        )

    # -- services ----------------------------------------------------------------------------

    def _serve_reset(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        if not self.active:
            response.message = f"not active: {self.lifecycle_state()}"
            return response
        with self.lock:
            self.reset_stream()
        self.get_logger().info("reset: the stream begins anew")
        response.success, response.message = True, "the stream begins anew"
        return response

    def _serve_enable(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        with self.lock:
            if self.enabled and not request.data and self.active:
                self.reset_stream()
            self.enabled = bool(request.data)
        response.success, response.message = True, "enabled" if self.enabled else "disabled"
        self.get_logger().info(response.message)
        return response


def run(make_node: Callable[[], StageNode], args: list[str] | None = None) -> int:
    """Run a node until it is told to stop; returns the exit status of its process."""
    return run_all(lambda: [make_node()], args)


def run_all(make_nodes: Callable[[], list[StageNode]], args: list[str] | None = None) -> int:
    """Run nodes in one process until it is told to stop; returns its exit status.

    Without `autostart` a node waits for the lifecycle services.
    """
    rclpy.init(args=args)
    nodes: list[StageNode] = []
    try:
        nodes = make_nodes()
        executor = SingleThreadedExecutor()
        for node in nodes:
            if node.autostart:
                node.start()
            executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except rclpy_implementation.RCLError:
        if rclpy.ok():
            raise  # else the process was told to end meanwhile
    except (ValueError, OSError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        for node in nodes:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return max((node.exit_status for node in nodes), default=0)
