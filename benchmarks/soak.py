"""Minutes of 15 Hz video through nodes in separate processes: what is lost, how late, what grows.

``python benchmarks/soak.py --model <artifact> --weights <.pt> --source <video> --minutes 10``

Publishes the source over and over at 640x480, whatever the nodes can do, and prints one JSON
object: images published, answered and counted as dropped by the detector node, the latency from
stamp to anomalies, and the memory of each process with its slope. The figures are of this machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

from tao_anomaly.media.source import open_source
from tao_anomaly.nodes import graph, qos, topics
from tao_anomaly.nodes.image_conversions import image_message, to_nanoseconds
from tao_anomaly.structures import NANOSECONDS, ImageArray

SIZE = (640, 480)
WARM_UP = 30.0  # seconds that the slope of memory leaves out
COUNTED = ("answered", "left out")


class Watcher(Node):
    """Publishes images and takes the answers and the diagnostics."""

    def __init__(self) -> None:
        super().__init__("soak")
        self.latencies: dict[int, float] = {}  # seconds, by stamp
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
    chosen = graph.parse(words)
    return {
        node.module: psutil.Process(
            subprocess.Popen(
                graph.command(node, chosen), env=graph.environment(), start_new_session=True
            ).pid
        )
        for node in graph.plan(chosen)
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Publish for the time asked for and return the figures."""
    os.environ.update(graph.environment())
    rclpy.init()
    watcher, executor = Watcher(), SingleThreadedExecutor()
    executor.add_node(watcher)
    spinning = threading.Thread(target=spin, args=(executor,), daemon=True)
    spinning.start()
    processes = start_nodes(options)
    try:
        while len(watcher.figures) < len(processes) or not watcher.camera.get_subscription_count():
            for name, process in processes.items():
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    raise RuntimeError(f"{name} ended before it was ready")
            time.sleep(0.1)
        time.sleep(3.0)  # so that all readers know of all writers
        stamps, memory = publish_all(watcher, processes, options)
        time.sleep(5.0)  # for the last answers, and diagnostics that tell of them
        return report(watcher, stamps, memory)
    finally:
        for process in processes.values():
            process.terminate()
        psutil.wait_procs(list(processes.values()), timeout=30)
        rclpy.try_shutdown()
        spinning.join()


def spin(executor: SingleThreadedExecutor) -> None:
    """Spin until ROS is shut down."""
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def publish_all(
    watcher: Watcher, processes: dict[str, psutil.Process], options: argparse.Namespace
) -> tuple[list[int], dict[str, list[tuple[float, float]]]]:
    """Return the stamps published, and seconds and megabytes of each process once a second."""
    images, stamps = pictures(options.source), []
    memory: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
    began = sampled = time.monotonic()
    while (elapsed := time.monotonic() - began) < options.minutes * 60:
        stamps.append(watcher.publish(next(images)))
        if time.monotonic() - sampled >= 1.0:
            sampled = time.monotonic()
            for name, process in processes.items():
                memory[name].append((elapsed, process.memory_info().rss / 2**20))
        due = began + len(stamps) / options.rate
        time.sleep(max(0.0, due - time.monotonic()))
    return stamps, memory


def report(
    watcher: Watcher, stamps: list[int], memory: dict[str, list[tuple[float, float]]]
) -> dict[str, Any]:
    """Return the figures, ready for JSON."""
    latencies = np.array([watcher.latencies[s] for s in stamps if s in watcher.latencies])
    detector = watcher.figures["detector"]
    answered, left_out = (int(detector[name]) for name in COUNTED)
    return {
        "published": len(stamps),
        "scored": len(latencies),
        "detector answered": answered,
        "detector left out": {
            key.removeprefix("left out: "): int(value)
            for key, value in detector.items()
            if key.startswith("left out: ")
        },
        "unaccounted": len(stamps) - answered - left_out,
        "stamp to anomalies, ms": {
            f"p{share}": round(1e3 * float(np.percentile(latencies, share)), 1)
            for share in (50, 95, 99)
        },
        "detector processing, p95 ms": float(detector["processing time, p95 (ms)"]),
        "memory": {name: growth(samples) for name, samples in memory.items()},
    }


def growth(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Return the last megabytes and the slope in megabytes an hour, after the warm-up."""
    late = [sample for sample in samples if sample[0] > WARM_UP] or samples
    seconds, megabytes = np.array(late).T
    slope = float(np.polyfit(seconds, megabytes, 1)[0]) if len(late) > 1 else 0.0
    return {"MB": round(float(megabytes[-1]), 1), "MB/hour": round(slope * 3600, 1)}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the fitted model")
    parser.add_argument("--weights", required=True, help="detector weights")
    parser.add_argument("--source", required=True, help="video or folder of images")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=15.0, help="images a second")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    text = json.dumps(run(options), indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
