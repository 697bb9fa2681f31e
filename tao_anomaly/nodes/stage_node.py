"""What all nodes share: their life in two steps, counted skips, and the process around them."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

THROTTLE = 5.0  # seconds between warnings of one kind


class StageNode(Node):
    """A node that is made, configured, then activated.

    The constructor declares parameters. `configure` loads what the node needs and raises ValueError
    with the remedy where it cannot. `activate` begins to publish and receive. `close` ends both.
    answered: messages answered. skipped: those left out, by reason. exit_status: of the process.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.answered = 0
        self.skipped: Counter[str] = Counter()
        self.exit_status = 0
        self._said: dict[str, float] = {}

    def configure(self) -> None:
        """Load and check what the node needs."""

    def activate(self) -> None:
        """Begin to publish and receive."""

    def close(self) -> None:
        """Stop threads and release what `configure` took."""

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

    def guarded(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a callback that skips a message that `handle` cannot take.

        No message may end the process, whatever is wrong with it.
        """

        def callback(message: Any) -> None:
            try:
                handle(message)
            except ValueError as error:
                self.skip("bad message", error)
            except Exception:
                self.skip("internal error", traceback.format_exc())

        return callback


def run(make_node: Callable[[], StageNode], args: list[str] | None = None) -> int:
    """Run a node until it is told to stop; returns the exit status of its process."""
    rclpy.init(args=args)
    node: StageNode | None = None
    try:
        node = make_node()
        node.configure()
        node.activate()
        node.get_logger().info("ready")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, OSError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return node.exit_status if node is not None else 0
