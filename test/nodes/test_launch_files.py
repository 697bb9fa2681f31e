"""The launch files start what exists, with arguments that are declared, as anomaly_graph does.

launch and launch_ros are no wheels, so recorders stand in for them here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tao_anomaly.nodes import graph

ROOT = Path(__file__).resolve().parents[2]


class Recorded:
    """Whatever the launch file makes: its arguments, by position and by name."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional, self.named = positional, named


class Argument(Recorded):
    """DeclareLaunchArgument."""


class Node(Recorded):
    """launch_ros' Node."""


class Function(Recorded):
    """OpaqueFunction."""


class Variable(Recorded):
    """SetEnvironmentVariable."""


class Configuration(Recorded):
    """LaunchConfiguration: the value given in the context, which must be a declared argument."""

    def perform(self, context: dict[str, str]) -> str:
        return context[self.positional[0]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Load a launch file against the recorders and return its entities."""
    stubs = {
        "launch": {"LaunchDescription": Recorded, "LaunchContext": dict},
        "launch.actions": {
            "DeclareLaunchArgument": Argument,
            "GroupAction": Recorded,
            "OpaqueFunction": Function,
            "SetEnvironmentVariable": Variable,
        },
        "launch.substitutions": {"LaunchConfiguration": Configuration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": Node, "PushROSNamespace": Recorded},
        "ament_index_python": {},
        "ament_index_python.packages": {"get_package_share_directory": lambda package: str(ROOT)},
    }
    stubs["launch"]["LaunchDescriptionEntity"] = Recorded
    for name, content in stubs.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def load_file(path: Path) -> list[Any]:
        spec = importlib.util.spec_from_file_location("launch_file", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.generate_launch_description().positional[0]

    return load_file


def started(entities: list[Any], **given: str) -> list[Node]:
    """Return the nodes that a launch file starts with these arguments."""
    declared = {e.positional[0]: e.named["default_value"] for e in entities if type(e) is Argument}
    assert given.keys() <= declared.keys()
    (function,) = (e for e in entities if type(e) is Function)
    (group,) = function.named["function"]({**declared, **given})
    namespace, *nodes = group.positional[0]
    assert namespace.positional == (given.get("namespace", ""),)
    return nodes


def executables(nodes: list[Node]) -> list[str]:
    return [node.named["executable"] for node in nodes]


@pytest.fixture
def anomaly(load) -> list[Any]:
    return load(ROOT / "launch" / "anomaly.launch.py")


@pytest.mark.parametrize("composed", [False, True])
def test_it_starts_the_same_nodes_as_the_command(anomaly: list[Any], composed: bool) -> None:
    nodes = started(anomaly, composed=str(composed).lower(), overlay="true")
    options = graph.parse(["--overlay", *(["--composed"] if composed else [])])
    assert executables(nodes) == [node.module for node in graph.plan(options)]


def test_every_executable_it_names_is_a_console_script(anomaly: list[Any]) -> None:
    scripts = {path.stem for path in (ROOT / "tao_anomaly" / "nodes").glob("*_node.py")}
    for composed in ("true", "false"):
        nodes = started(anomaly, composed=composed, overlay="true", rviz="true")
        ours = [node for node in nodes if node.named["package"] == "tao_anomaly"]
        assert set(executables(ours)) <= scripts
        assert executables(nodes)[-1] == "rviz2"


def test_every_file_it_names_exists(anomaly: list[Any]) -> None:
    files = []
    for node in started(anomaly, overlay="true", rviz="true"):
        files += [entry for entry in node.named["parameters"] if isinstance(entry, str)]
        files += [entry for entry in node.named.get("arguments", []) if "/" in entry]
    assert len(files) == 5
    for file in files:
        assert yaml.safe_load(Path(file).read_text())


def test_only_what_is_given_overrides_the_parameter_file(anomaly: list[Any]) -> None:
    (plain, *_), (told, *_) = (
        started(anomaly),
        started(anomaly, model="m", detector_weights="w", use_sim_time="true", autostart="false"),
    )
    assert plain.named["parameters"][1] == {"use_sim_time": False, "autostart": True}
    assert told.named["parameters"][1] == {
        "use_sim_time": True,
        "autostart": False,
        "model": "m",
        "detector.weights": "w",
    }
    known = yaml.safe_load(Path(plain.named["parameters"][0]).read_text())["/**"]["ros__parameters"]
    assert {
        "model",
        "detector.weights",
        "detector.device",
        "image_transport",
        "autostart",
    } <= known.keys()


def test_names_are_relative_but_for_the_topic_the_user_gives(anomaly: list[Any]) -> None:
    for node in started(anomaly, namespace="left", image_topic="/camera/image_raw"):
        assert node.named["remappings"] == [("image_raw", "/camera/image_raw")]


def test_the_environment_is_that_of_the_command(load, monkeypatch) -> None:
    path = ROOT / "launch" / "anomaly.launch.py"
    for name in ("OMP_WAIT_POLICY", *graph.PROFILE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    chosen = dict(e.positional for e in load(path) if type(e) is Variable)
    assert chosen.items() <= graph.environment().items()
    assert chosen.keys() == {"OMP_WAIT_POLICY", "FASTRTPS_DEFAULT_PROFILES_FILE"}
    assert Path(chosen["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert not [e for e in load(path) if type(e) is Variable]
