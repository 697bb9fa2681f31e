"""The graph of launch/anomaly.launch.py, started without launch: one process a node.

``ros2 run tao_anomaly anomaly_graph --model <folder> --source <video>``, or
``python -m tao_anomaly.nodes.graph`` where there is no ros2 command.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_anomaly.nodes import topics
from tao_anomaly.nodes.cameras import read_cameras

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
STAGES = ("detector_node", "track_buffer_node", "scorer_node")
COMPOSED = ("pipeline_node",)
# The detector takes all cores there are; the stages after it, which take little, go first.
NICENESS = {"detector_node": 5}
GRACE = 10.0  # seconds a node has to end after it was asked to
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class NodeProcess:
    """One node to start: its module in this package, its parameters and its arguments."""

    module: str
    parameters: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="anomaly_graph", description=__doc__)
    stages = add_stage_arguments(parser)
    stages.add_argument("--image-topic", help="topic of the images")
    stages.add_argument("--image-transport", choices=("raw", "compressed"))
    stages.add_argument("--use-sim-time", action="store_true", help="time of the topic /clock")
    overlay = parser.add_argument_group("annotated image")
    overlay.add_argument("--overlay", action="store_true", help="publish it")
    overlay.add_argument("--record", type=Path, help="write it to this video file")
    parser.add_argument("--snapshots", type=Path, help="keep events as mcap files in this folder")
    parser.add_argument("--cameras", type=Path, help="YAML file of cameras instead of one")
    source = parser.add_argument_group("video source (else another node publishes the images)")
    source.add_argument("--source", help="video, folder of images, rosbag or camera index")
    source.add_argument("--rate", type=float, help="frames a second of the footage")
    source.add_argument("--topic", help="image topic of a bag that has several")
    source.add_argument("--publish-rate", type=float, help="images a second, default: its own pace")
    source.add_argument("--lock-step", action="store_true", help="as fast as the stages keep up")
    return parser.parse_args(arguments)


def add_stage_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what every command that starts stages takes; returns the group."""
    stages = parser.add_argument_group("stages")
    stages.add_argument("--model", help="folder of the fitted model")
    stages.add_argument("--detector-weights", help="path or name of the detector weights")
    stages.add_argument("--detector-weights-sha256", help="their SHA-256, or any to trust them")
    stages.add_argument("--device", help="torch device: auto, cpu, cuda, cuda:N")
    stages.add_argument("--composed", action="store_true", help="all stages in one process")
    stages.add_argument("--params-file", type=Path, help="ROS 2 parameter file")
    stages.add_argument("--namespace", default="", help="namespace of all nodes and topics")
    stages.add_argument("--log-level", default="info", help="debug, info, warn, error or fatal")
    return stages


def plan(options: argparse.Namespace) -> list[NodeProcess]:
    """Return the nodes to start; the source, if any, is the last."""
    nodes = stages(options, lock_step=options.lock_step)
    shared = nodes[0].parameters
    if options.cameras:
        return [NodeProcess("cameras_node", shared, (str(options.cameras),))]
    if options.overlay or options.record:
        record = given({"overlay.record": options.record and str(options.record)})
        nodes.append(NodeProcess("overlay_node", {**shared, **record}))
    if options.snapshots:
        kept = {"snapshot.folder": str(options.snapshots)}
        nodes.append(NodeProcess("snapshot_node", {**shared, **kept}))
    if options.source:
        nodes.append(NodeProcess("video_source_node", source_parameters(options)))
    return nodes


def stages(options: argparse.Namespace, *, lock_step: bool = False) -> list[NodeProcess]:
    """Return the nodes between image and score, each with the settings given for all of them.

    lock_step: no image may be left out, whatever a parameter file says.
    """
    settings = given(
        {
            "model": options.model,
            "detector.weights": options.detector_weights,
            "detector.weights_sha256": options.detector_weights_sha256,
            "detector.device": options.device,
            "image_transport": options.image_transport,
            "max_wait": 0.0 if lock_step else None,
        }
    )
    modules = COMPOSED if options.composed else STAGES
    return [NodeProcess(module, settings) for module in modules]


def source_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the source's parameters, with the topics that show that all stages are there."""
    between = [] if options.composed else [topics.FEATURES, topics.WINDOWS]
    return given(
        {
            "source": options.source,
            "rate": options.rate,
            "topic": options.topic,
            "publish_rate": options.publish_rate,
            "lock_step": options.lock_step or None,
            "wait_for": " ".join([topics.IMAGE, *between, topics.ANOMALIES]),
        }
    )


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def command(node: NodeProcess, options: argparse.Namespace) -> list[str]:
    """Return the command line of a node."""
    niceness = NICENESS.get(node.module)
    words = ["nice", "-n", str(niceness)] if niceness else []
    words += [sys.executable, "-m", f"tao_anomaly.nodes.{node.module}", *node.arguments]
    words.append("--ros-args")
    words += ["--log-level", options.log_level]
    if options.namespace:
        words += ["-r", f"__ns:=/{options.namespace.strip('/')}"]
    if options.image_topic:
        words += ["-r", f"{topics.IMAGE}:={options.image_topic}"]
    if options.params_file:
        words += ["--params-file", str(options.params_file)]
    if options.use_sim_time:
        words += ["-p", "use_sim_time:=true"]
    for name, value in node.parameters.items():
        words += ["-p", f"{name}:={json.dumps(value)}"]
    return words


def environment() -> dict[str, str]:
    """Return the environment of the nodes; what the user has set stays.

    Fast DDS gets the shipped profile. Waiting threads sleep: spinning ones would take the
    processors from the other nodes.
    """
    chosen = {**os.environ}
    chosen.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not any(name in chosen for name in PROFILE_VARIABLES):
        chosen[PROFILE_VARIABLES[0]] = str(config_folder() / "fastdds_profile.xml")
    return chosen


def config_folder() -> Path:
    """Return the folder of shipped settings, in a checkout or installed."""
    checkout = Path(__file__).resolve().parents[2] / "config"
    if checkout.is_dir():
        return checkout
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("tao_anomaly")) / "config"


def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process that Ctrl-C does not reach, and which ends when it is told to.

    Not a session of its own: where the system schedules by sessions, niceness counts within one.
    Where Linux can, it is told to as well when this thread has come to a sudden end.
    """
    bound = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return subprocess.Popen([*bound, *words], env=environment(), process_group=0)


def supervise(commands: Sequence[Sequence[str]], *, last_ends_all: bool) -> int:
    """Run processes until one ends or Ctrl-C, then end the others; returns the exit status.

    last_ends_all: whether it is success when the last one ends well.
    """
    children: list[subprocess.Popen[bytes]] = []
    try:
        for words in commands:
            # Ctrl-C reaches only this process, which ends them in order.
            children.append(start(words))
        while all(child.poll() is None for child in children):
            time.sleep(0.1)
        ended = next(i for i, child in enumerate(children) if child.poll() is not None)
        status = int(children[ended].returncode)
        if last_ends_all and ended == len(children) - 1:
            return status
        name = " ".join(itertools.takewhile(lambda word: word != "--ros-args", commands[ended]))
        print(f"{name} ended with status {status}; the others are ended too", file=sys.stderr)
        return status or 1
    except KeyboardInterrupt:
        return 0
    finally:
        with undisturbed():
            end(children)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C not keep this process from ending what it started."""
    handlers = {how: signal.signal(how, signal.SIG_IGN) for how in ENDINGS}
    try:
        yield
    finally:
        for how, handler in handlers.items():
            signal.signal(how, signal.SIG_DFL if handler is None else handler)


def end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes, first gently, then surely."""
    # Not SIGINT: what was started in the background ignores it.
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE
        alive = [child for child in children if child.poll() is None]
        for child in alive:
            child.send_signal(how)
        while any(child.poll() is None for child in alive) and time.monotonic() < deadline:
            time.sleep(0.05)


def heed_signals() -> None:
    """Let Ctrl-C, termination and a closed terminal interrupt this process, also in the background.

    Where SIGHUP is ignored, as by nohup, it stays so.
    """
    for how in ENDINGS:
        if how != signal.SIGHUP or signal.getsignal(how) != signal.SIG_IGN:
            signal.signal(how, signal.default_int_handler)


def run(options: argparse.Namespace) -> int:
    """Start the nodes and wait for their end; returns the exit status."""
    heed_signals()
    cameras = of_cameras(options) if options.cameras else [options]
    commands = [command(node, camera) for camera in cameras for node in plan(camera)]
    return supervise(commands, last_ends_all=bool(options.source))


def of_cameras(options: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the options of each camera of the file; raises ValueError for what is wrong in it."""
    if options.source or options.namespace or options.image_topic:
        raise ValueError("--cameras names the topics: give no --source, --namespace, --image-topic")
    chosen = read_cameras(options.cameras)
    if options.record:
        raise ValueError("--record is one video: give it with one camera, or --overlay instead")
    if chosen.together and (options.overlay or options.snapshots):
        raise ValueError(
            "cameras together are stages alone: give no --overlay and no --snapshots, or start"
            " overlay_node and snapshot_node in their namespaces"
        )
    if chosen.together:
        return [options]
    return [
        argparse.Namespace(
            **{**vars(options), "cameras": None, "composed": True, **camera.arguments()}
        )
        for camera in chosen.cameras
    ]


def main() -> int:
    """Run the command line."""
    try:
        return run(parse())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
