"""Replays a bag through the stages and records their answers into a new bag.

``python -m tao_anomaly.nodes.replay <bag> --model <folder> --output <new bag>``

Without another pace it runs in lock-step: the next image when the scores of the last one are back,
so that every image is answered and two replays record the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tao_anomaly.nodes import graph, topics
from tao_anomaly.nodes.graph import NodeProcess


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="anomaly_replay", description=__doc__)
    parser.add_argument("bag", help="rosbag (mcap or sqlite3): its folder, or a file of it")
    parser.add_argument("--output", type=Path, help="new bag for scores and events")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), help="of that bag")
    parser.add_argument("--topic", help="image topic of a bag that has several")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--publish-rate", type=float, help="images a second, whatever is answered")
    pace.add_argument("--real-time", action="store_true", help="at the pace of the recording")
    graph.add_stage_arguments(parser)
    # The images are published under the stages' own name, with the bag's time.
    parser.set_defaults(image_topic=None, image_transport="raw", use_sim_time=True)
    return parser.parse_args(arguments)


def plan(options: argparse.Namespace) -> list[NodeProcess]:
    """Return the nodes to start; the one that replays is the last."""
    between = [] if options.composed else [topics.FEATURES, topics.WINDOWS]
    recorded = [topics.EVENTS] if options.output else []
    lock_step = not (options.real_time or options.publish_rate)
    replay = graph.given(
        {
            "source": str(options.bag),
            "topic": options.topic,
            "publish_rate": options.publish_rate,
            "lock_step": lock_step,
            "record": options.output and str(options.output),
            "record_storage": options.storage,
            "wait_for": " ".join([topics.IMAGE, *between, topics.ANOMALIES, *recorded]),
            "use_sim_time": False,
        }
    )
    return [*graph.stages(options, lock_step=lock_step), NodeProcess("replay_node", replay)]


def main() -> int:
    """Run the command line."""
    options = parse()
    graph.heed_signals()
    commands = [graph.command(node, options) for node in plan(options)]
    return graph.supervise(commands, last_ends_all=True)


if __name__ == "__main__":
    sys.exit(main())
