"""Minutes of video through nodes in separate processes: what is lost, how late, what grows.

``python benchmarks/soak.py --model <artifact> --weights <.pt> --source <video>
--output benchmarks/results/soak.md``

First 15 images a second at 640x480, then, in the same processes, three times as many as the
detector can take. Each image is accounted for: answered, or counted as left out by that node.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# This checkout is measured, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray

from benchmarks.conditions import conditions, listed
from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.media.source import open_source
from tao_anomaly.nodes import graph, qos, topics
from tao_anomaly.nodes.image_conversions import image_message, to_nanoseconds
from tao_anomaly.nodes.traffic import Recent
from tao_anomaly.structures import NANOSECONDS, ImageArray

SIZE = (640, 480)
WARM_UP = 30.0  # seconds of a phase that its slope of memory leaves out, at most half of it
OVERLOAD = 3  # times what the detector can take
ALLOWED = 20.0  # milliseconds that may pass beside the detector's time
SETTLE = 5.0  # seconds for the last answers, and diagnostics that tell of them
PROCESSING = "processing time"
WAITING = "time in the queue"
LATENCY = "latency from stamp to answer"
WATCHER = "soak"  # which sees what takes all stages together
NOTE = "Times that are not of all images: median of those of the last ten seconds, once a second."
ENGINES = ("openvino", "onnxruntime")

Memory = dict[str, list[tuple[float, float]]]  # seconds and megabytes by process
Times = dict[tuple[str, str], list[tuple[float, float]]]  # milliseconds by node and what takes them


@dataclass
class Phase:
    """What was seen of one load.

    stamps: of the images published. times: the median and the 95th percentile of a node's last ten
    seconds, once a second. before, after: figures of the detector. stolen: share of the processors'
    time that the host of a virtual machine gave to others.
    """

    name: str
    rate: float
    stamps: list[int]
    memory: Memory
    times: Times
    before: dict[str, str]
    after: dict[str, str]
    stolen: float = 0.0


class Watcher(Node):
    """Publishes images and takes the answers and the diagnostics."""

    def __init__(self) -> None:
        super().__init__(WATCHER)
        self.latencies: dict[int, float] = {}  # seconds, by stamp
        self.recent = Recent()  # the same of the last seconds, as nodes look back too
        self.figures: dict[str, dict[str, str]] = {}
        self.camera = self.create_publisher(Image, topics.IMAGE, qos.IMAGE_SOURCE)
        self.create_subscription(AnomalyArray, topics.ANOMALIES, self._answer, qos.STAGE)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._health, 100)

    def publish(self, picture: ImageArray) -> int:
        """Publish an image with the time of now; returns its stamp in nanoseconds."""
        stamp = self.get_clock().now()
        header = Header(stamp=stamp.to_msg(), frame_id="camera")
        self.camera.publish(image_message(picture, header))
        return int(stamp.nanoseconds)

    def _answer(self, message: AnomalyArray) -> None:
        stamp_ns = to_nanoseconds(message.header.stamp)
        now_ns = self.get_clock().now().nanoseconds
        self.latencies[stamp_ns] = (now_ns - stamp_ns) / NANOSECONDS
        self.recent.add(self.latencies[stamp_ns])

    def _health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.figures[status.name.split(":")[0]] = {e.key: e.value for e in status.values}


def pictures(source: str) -> Iterator[ImageArray]:
    """Yield the source's images at SIZE, there and back without end, so that nothing jumps."""
    frames = [cv2.resize(f.image, SIZE) for f in itertools.islice(open_source(source), 100)]
    there_and_back = frames + frames[-2:0:-1]
    return itertools.cycle([np.asarray(frame, np.uint8) for frame in there_and_back])


def start_nodes(options: argparse.Namespace) -> dict[str, psutil.Process]:
    """Start the stages, each in a process of its own."""
    words = ["--model", options.model, "--detector-weights", options.weights]
    words += ["--detector-weights-sha256", options.weights_sha256]
    words += ["--params-file", str(options.params_file)] if options.params_file else []
    chosen = graph.parse(words)
    return {
        node.module: psutil.Process(graph.start(graph.command(node, chosen)).pid)
        for node in graph.plan(chosen)
    }


def run(options: argparse.Namespace) -> str:
    """Publish for the time asked for and return the report."""
    os.environ.update(graph.environment())
    rclpy.init()
    watcher, executor = Watcher(), SingleThreadedExecutor()
    executor.add_node(watcher)
    spinning = threading.Thread(target=spin, args=(executor,), daemon=True)
    spinning.start()
    processes = start_nodes(options)
    try:
        wait_until_ready(watcher, processes)
        images = pictures(options.source)
        phases = [load(watcher, processes, images, "steady", options.rate, options.minutes)]
        if options.overload_minutes:
            rate = OVERLOAD * 1e3 / usual(phases[0], "detector", PROCESSING)[0]
            phases.append(
                load(watcher, processes, images, "overload", rate, options.overload_minutes)
            )
        return report(watcher, phases, processes, options)
    finally:
        for process in processes.values():
            process.terminate()
        psutil.wait_procs(list(processes.values()), timeout=30)
        rclpy.try_shutdown()
        spinning.join()


def wait_until_ready(watcher: Watcher, processes: dict[str, psutil.Process]) -> None:
    """Return when all nodes tell of themselves; raises RuntimeError where one has ended."""
    while len(watcher.figures) < len(processes) or not watcher.camera.get_subscription_count():
        for name, process in processes.items():
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"{name} ended before it was ready")
        time.sleep(0.1)
    time.sleep(3.0)  # so that all readers know of all writers


def spin(executor: SingleThreadedExecutor) -> None:
    """Spin until ROS is shut down."""
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def load(
    watcher: Watcher,
    processes: dict[str, psutil.Process],
    images: Iterator[ImageArray],
    name: str,
    rate: float,
    minutes: float,
) -> Phase:
    """Publish images at a rate, look at the processes once a second, and wait for the answers."""
    before = dict(watcher.figures["detector"])
    stamps: list[int] = []
    memory: Memory = {process: [] for process in processes}
    times: Times = {}
    stolen = stolen_seconds()
    began = sampled = time.monotonic()
    while (elapsed := time.monotonic() - began) < minutes * 60:
        stamps.append(watcher.publish(next(images)))
        if time.monotonic() - sampled >= 1.0:
            sampled = time.monotonic()
            for each, process in processes.items():
                memory[each].append((elapsed, process.memory_info().rss / 2**20))
            note_times(times, watcher.figures, watcher.recent)
        due = began + len(stamps) / rate
        time.sleep(max(0.0, due - time.monotonic()))
    stolen = (stolen_seconds() - stolen) / ((psutil.cpu_count() or 1) * minutes * 60)
    time.sleep(SETTLE)
    after = dict(watcher.figures["detector"])
    return Phase(name, rate, stamps, memory, times, before, after, stolen)


def stolen_seconds() -> float:
    """Return what the host of a virtual machine has taken of all processors, where it is told."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def note_times(times: Times, figures: dict[str, dict[str, str]], recent: Recent) -> None:
    """Add what each node says of its times now, and what was seen of all stages together."""
    for node, said in figures.items():
        for what in (PROCESSING, WAITING, LATENCY):
            middle, high = (float(said[f"{what}, p{share} (ms)"]) for share in (50, 95))
            if np.isfinite((middle, high)).all():
                times.setdefault((node, what), []).append((middle, high))
    middle, high = (1e3 * seconds for seconds in recent.percentiles(50, 95))
    if np.isfinite((middle, high)).all():
        times.setdefault((WATCHER, LATENCY), []).append((middle, high))


def usual(phase: Phase, node: str, what: str) -> tuple[float, float]:
    """Return a node's median and 95th percentile in the middle of a phase's seconds."""
    middle, high = np.median(phase.times[node, what], axis=0)
    return float(middle), float(high)


def report(
    watcher: Watcher,
    phases: list[Phase],
    processes: dict[str, psutil.Process],
    options: argparse.Namespace,
) -> str:
    """Return the figures as Markdown."""
    facts = {
        **conditions(),
        "Images": f"{options.source}, shown at {SIZE[0]}x{SIZE[1]}",
        "Model": options.model,
        "Engines": ", ".join(f"{name}: {engines(each)}" for name, each in processes.items()),
    }
    columns = [figures(watcher.latencies, phase) for phase in phases]
    lines = ["| | " + " | ".join(phase.name for phase in phases) + " |"]
    lines.append("|---|" + "---:|" * len(phases))
    for name in columns[0]:
        lines.append(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    return "\n".join(
        ["# Long runs in separate processes", "", listed(facts), "", NOTE, "", *lines, ""]
    )


def figures(latencies: dict[int, float], phase: Phase) -> dict[str, str]:
    """Return what is said of a phase, by name."""
    answered, left_out = (
        int(phase.after[key]) - int(phase.before[key]) for key in ("answered", "left out")
    )
    late = 1e3 * np.array([latencies[s] for s in phase.stamps if s in latencies])
    middle, high = usual(phase, "detector", PROCESSING)
    end_to_end = usual(phase, WATCHER, LATENCY)
    p50, p95, p99 = np.percentile(late, (50, 95, 99))
    return {
        "images a second": f"{phase.rate:.1f}",
        "processors' time taken by the host, per cent": f"{100 * phase.stolen:.1f}",
        "published": str(len(phase.stamps)),
        "answered by the detector": str(answered),
        "left out and counted": str(left_out),
        "unaccounted": str(len(phase.stamps) - answered - left_out),
        "scored": str(len(late)),
        "detector processing, median / p95 ms": both((middle, high)),
        **{
            f"{what} of {node}, median / p95 ms": both(usual(phase, node, what))
            for node, what in phase.times
            if (node, what) not in (("detector", PROCESSING), (WATCHER, LATENCY))
        },
        "stamp to anomalies, median / p95 ms": both(end_to_end),
        f"p95 beyond the detector's p95 (aim: {ALLOWED:.0f}), ms": f"{end_to_end[1] - high:.1f}",
        "stamp to anomalies over all images, median ms": f"{p50:.1f}",
        "p95 ms": f"{p95:.1f}",
        "p99 ms": f"{p99:.1f}",
        "most ms": f"{late.max():.1f}",
        "p95 / detector's median (aim under overload: 2)": f"{p95 / middle:.2f}",
        **{f"memory of {name}": growth(samples) for name, samples in phase.memory.items()},
    }


def both(times: tuple[float, float]) -> str:
    """Return two times in milliseconds."""
    return f"{times[0]:.1f} / {times[1]:.1f}"


def growth(samples: list[tuple[float, float]]) -> str:
    """Return the last megabytes and the slope, after the warm-up."""
    begin = min(WARM_UP, samples[-1][0] / 2)
    seconds, megabytes = np.array([sample for sample in samples if sample[0] >= begin]).T
    slope = float(np.polyfit(seconds, megabytes, 1)[0]) if len(seconds) > 1 else 0.0
    return f"{megabytes[-1]:.0f} MB, {round(slope * 60, 2) + 0.0:+.2f} MB a minute"


def engines(process: psutil.Process) -> str:
    """Return which of ENGINES a process has loaded."""
    loaded = " ".join(mapped.path for mapped in process.memory_maps())
    return " and ".join(name for name in ENGINES if name in loaded) or "none of them"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the fitted model")
    parser.add_argument("--weights", required=True, help="detector weights")
    parser.add_argument("--weights-sha256", default="", help="their SHA-256, or any")
    parser.add_argument("--params-file", type=Path, help="parameters of the nodes")
    parser.add_argument("--source", required=True, help="video or folder of images")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--overload-minutes", type=float, default=2.0, help="0: no overload")
    parser.add_argument("--rate", type=float, default=15.0, help="images a second")
    parser.add_argument("--output", type=Path, help="Markdown file for the figures")
    options = parser.parse_args()
    text = run(options)
    print(text)
    if options.output:
        write_atomically(options.output, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
