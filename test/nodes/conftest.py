from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tao_anomaly.config import CalibrationConfig, DetectorConfig, PipelineConfig
from tao_anomaly.detection import backends
from tao_anomaly.detection.detector import Detector
from tao_anomaly.fit import FitConfig, extract, fit
from tao_anomaly.media.source import open_source
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import NANOSECONDS, Frame

# Domains above 101 reach into the ports that the system gives away on Linux.
_DOMAINS = itertools.cycle(range(1, 102))


@pytest.fixture(scope="session")
def model(ped2: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline fitted on a few real images, with a threshold low enough for events."""
    folder = tmp_path_factory.mktemp("model") / "artifact"
    clips = []
    for clip in ("Train001", "Train005", "Train010"):
        images = tmp_path_factory.mktemp(clip)
        copy_images(ped2 / "Train" / clip, images, count=12)
        clips.append(open_source(images))
    perception = Perception.from_config(PipelineConfig(), detector=detector)
    calibration = CalibrationConfig(rule="fixed", value=0.5)
    config = FitConfig(source="test", output=str(folder), calibration=calibration)
    fit(extract(clips, perception), perception, config)
    return folder


def copy_images(source: Path, target: Path, *, count: int) -> None:
    """Put the first images of a folder into another."""
    for image in sorted(source.iterdir())[:count]:
        shutil.copy(image, target)


def _load(name: str) -> ModuleType:
    """Import a file beside this one, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LightBackend = _load("light_detector").LightBackend
LIGHT = DetectorConfig(input_size=64, max_detections=256)


class Still:
    """Normal footage of `length` grey images at 10 Hz."""

    rate = 10.0
    length = 20

    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.length):
            yield Frame(np.full((48, 64, 3), 99, np.uint8), index * NANOSECONDS // 10, index)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> LightBackend:
    """The detector of the nodes in this process."""
    backend = LightBackend()
    monkeypatch.setattr(backends, "load_backend", lambda config: backend)
    return backend


@pytest.fixture(scope="session")
def light_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline fitted on what the light detector finds."""
    folder = tmp_path_factory.mktemp("light_model") / "artifact"
    pipeline = PipelineConfig(detector=LIGHT)
    detector = Detector(backend=LightBackend(), config=LIGHT)
    perception = Perception.from_config(pipeline, detector=detector)
    config = FitConfig(
        source="test",
        output=str(folder),
        pipeline=pipeline,
        calibration=CalibrationConfig(rule="percentile", q=0.5),
    )
    fit(extract([Still(name) for name in "abcde"], perception), perception, config)
    return folder


@pytest.fixture
def claim() -> Callable[[Iterable[int]], contextlib.AbstractContextManager[int]]:
    """What `domain` holds its number by."""
    return claimed_domain


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """A ROS domain of the test's own, on this machine only, for it and its processes."""
    with claimed_domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_log"))
        yield number


@contextlib.contextmanager
def claimed_domain(numbers: Iterable[int] = _DOMAINS) -> Iterator[int]:
    """Hold the first domain that no other run of these tests holds; a killed one holds none."""
    folder = Path(tempfile.gettempdir()) / f"tao_anomaly_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for number in itertools.islice(numbers, 101):
        with (folder / str(number)).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    raise RuntimeError(f"all ROS domains are claimed (locks in {folder}); end the other test runs")


class Process:
    """A started program and what it prints."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        self._log = log
        # As a file it would be run with its own folder in the path instead of this one.
        run_file = f"import runpy; runpy.run_path({module!r}, run_name='__main__')"
        program = ["-c", run_file] if module.endswith(".py") else ["-m", module]
        with log.open("wb") as file:
            self.child = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait(self, timeout: float) -> int:
        return self.child.wait(timeout)

    def wait_for(self, text: str, timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.output:
            assert self.child.poll() is None, f"ended with {self.child.poll()}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            time.sleep(0.05)

    def interrupt(self) -> int:
        self.child.send_signal(signal.SIGINT)
        return self.child.wait(60)


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a module, or a file, as a process; it is ended after the test."""
    started: list[Process] = []

    def start_module(module: str, *arguments: str) -> Process:
        log = tmp_path / f"{len(started)}-{Path(module).name}.log"
        started.append(Process(module, *arguments, log=log))
        return started[-1]

    yield start_module
    for process in started:
        if process.child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.interrupt()
        if process.child.poll() is None:
            process.child.kill()


class Listener:
    """A node in this process: collects whole messages and publishes them."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("listener", context=self.context)
        self.received: dict[str, list[Any]] = {}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def listen(self, kind: type, topic: str, **quality: Any) -> None:
        from rclpy.qos import QoSProfile

        messages = self.received.setdefault(topic, [])
        profile = QoSProfile(depth=1000, **quality)
        self.node.create_subscription(kind, topic, messages.append, profile)

    def wait(self, condition: Callable[[], object], timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            counts = {topic: len(messages) for topic, messages in self.received.items()}
            assert time.monotonic() < deadline, f"timed out with {counts}"
            time.sleep(0.02)

    def wait_up_to(self, seconds: float, condition: Callable[[], object]) -> None:
        """Wait for a condition that need not come true."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self) -> None:
        self.context.try_shutdown()
        self._thread.join(10)
        self.node.destroy_node()


@pytest.fixture
def listener(domain: int) -> Iterator[Listener]:
    node = Listener(domain)
    yield node
    node.close()


@pytest.fixture
def spin(domain: int) -> Iterator[Callable[..., Any]]:
    """Start nodes in this process, each with an executor and thread of its own.

    The arguments of the first one are those of all. start=False: only made.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    nodes: list[Any] = []
    threads: list[threading.Thread] = []

    def work(executor: SingleThreadedExecutor) -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    def start_node(make: Callable[[], Any], *arguments: str, start: bool = True) -> Any:
        if not rclpy.ok():
            rclpy.init(args=["--ros-args", *arguments], domain_id=domain)
        node = make()
        nodes.append(node)
        if start:
            node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        threads.append(threading.Thread(target=work, args=(executor,), daemon=True))
        threads[-1].start()
        return node

    yield start_node
    rclpy.try_shutdown()
    for thread in threads:
        thread.join(60)
    for node in nodes:
        node.close()
        node.destroy_node()
