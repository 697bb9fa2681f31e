"""Any node may die in the running graph: started again, the answers go on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray

from tao_anomaly.nodes import topics
from tao_anomaly.nodes.image_conversions import image_message, to_nanoseconds, to_time
from tao_anomaly.structures import NANOSECONDS

LIGHT_DETECTOR = str(Path(__file__).with_name("light_detector.py"))
START = 1_700_000_000 * NANOSECONDS


@pytest.mark.slow
def test_after_kill_9_and_a_restart_of_each_node_answers_go_on(
    start: Callable, listener, light_model: Path
) -> None:
    programs = {
        "detector": [LIGHT_DETECTOR, "detector.input_size:=64", "detector.max_detections:=256"],
        "buffer": ["tao_anomaly.nodes.track_buffer_node", "windows.hop:=1"],
        "scorer": ["tao_anomaly.nodes.scorer_node", f"model:={light_model}"],
    }

    def begin(name: str) -> object:
        module, *parameters = programs[name]
        return start(module, "--ros-args", *(w for p in parameters for w in ("-p", p)))

    running = {name: begin(name) for name in programs}
    listener.listen(AnomalyArray, topics.ANOMALIES)
    answers = listener.received[topics.ANOMALIES]
    camera = listener.node.create_publisher(Image, topics.IMAGE, 10)
    pixels = np.full((48, 64, 3), 99, np.uint8)
    sent = 0

    def scored_since(stamp_ns: int) -> list[AnomalyArray]:
        return [
            a
            for a in answers
            if to_nanoseconds(a.header.stamp) > stamp_ns
            and any(math.isfinite(o.score) for o in a.objects)
        ]

    def run_until_scored() -> list[AnomalyArray]:
        """Send images at 10 Hz until objects of a new one are scored."""
        nonlocal sent
        now_ns = START + sent * NANOSECONDS // 10
        while not scored_since(now_ns):
            for name, process in running.items():
                assert process.child.poll() is None, f"{name} ended:\n{process.output}"
            assert sent < 1500, [process.output for process in running.values()]
            sent += 1
            stamp = to_time(START + sent * NANOSECONDS // 10)
            camera.publish(image_message(pixels, Header(stamp=stamp, frame_id="camera")))
            listener.wait_up_to(0.1, lambda: scored_since(now_ns))
        return scored_since(now_ns)

    def track_ids(arrays: list[AnomalyArray]) -> set[str]:
        return {o.id for a in arrays for o in a.objects}

    ids = track_ids(run_until_scored())
    for name in ("scorer", "buffer", "detector"):
        running[name].child.kill()
        running[name].child.wait(60)
        running[name] = begin(name)
        after = track_ids(run_until_scored())
        if name == "detector":
            assert not after & ids  # no id of before is used again
        else:
            assert after <= ids  # the same objects, still tracked
    stamps = [to_nanoseconds(a.header.stamp) for a in answers]
    assert len(set(stamps)) == len(stamps)  # none was answered twice
