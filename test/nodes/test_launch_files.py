"""The launch files start what exists, with arguments that are declared, as anomaly_graph does.

launch and launch_ros are no wheels, so recorders stand in for them here.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tao_anomaly.nodes import graph, replay
from tao_anomaly.nodes.settings import ReplaySettings

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


class Include(Recorded):
    """IncludeLaunchDescription."""


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
            "IncludeLaunchDescription": Include,
            "Shutdown": Recorded,
            "OpaqueFunction": Function,
            "SetEnvironmentVariable": Variable,
        },
        "launch.launch_description_sources": {"PythonLaunchDescriptionSource": Recorded},
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


def performed(entities: list[Any], **given: str) -> list[Any]:
    """Return what a launch file starts with these arguments."""
    declared = {e.positional[0]: e.named for e in entities if type(e) is Argument}
    assert given.keys() <= declared.keys()
    for name, value in given.items():
        assert value in declared[name].get("choices", [value])
    defaults = {n: e["default_value"] for n, e in declared.items() if "default_value" in e}
    (function,) = (e for e in entities if type(e) is Function)
    return function.named["function"]({**defaults, **given})


def started(entities: list[Any], **given: str) -> list[Node]:
    """Return the nodes that a launch file starts with these arguments."""
    (group,) = performed(entities, **given)
    namespace, *nodes = group.positional[0]
    assert namespace.positional == (given.get("namespace", ""),)
    return nodes


def executables(nodes: list[Node]) -> list[str]:
    return [node.named["executable"] for node in nodes]


def included(load, include: Include) -> list[Node]:
    """Return the nodes of an included launch file, with the arguments it is given."""
    (path,) = include.positional[0].positional
    return started(load(Path(path)), **dict(include.named["launch_arguments"]))


@pytest.fixture
def anomaly(load) -> list[Any]:
    return load(ROOT / "launch" / "anomaly.launch.py")


@pytest.mark.parametrize("composed", [False, True])
def test_it_starts_the_same_nodes_as_the_command(anomaly: list[Any], composed: bool) -> None:
    given = {"composed": str(composed).lower(), "overlay": "true", "snapshots": "kept"}
    nodes = started(anomaly, **given)
    words = ["--overlay", "--snapshots", "kept", *(["--composed"] if composed else [])]
    planned = graph.plan(graph.parse(words))
    assert executables(nodes) == [node.module for node in planned]
    commands = [graph.command(node, graph.parse(words)) for node in planned]
    before = [" ".join(each[: each.index(sys.executable)]) for each in commands]
    assert [node.named["prefix"] or "" for node in nodes] == before
    assert nodes[-1].named["parameters"][1]["snapshot.folder"] == "kept"
    assert planned[-1].parameters["snapshot.folder"] == "kept"


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
        started(
            anomaly,
            model="m",
            detector_weights="w",
            detector_weights_sha256="any",
            use_sim_time="true",
            autostart="false",
        ),
    )
    assert plain.named["parameters"][1] == {"use_sim_time": False, "autostart": True}
    assert told.named["parameters"][1] == {
        "use_sim_time": True,
        "autostart": False,
        "model": "m",
        "detector.weights": "w",
        "detector.weights_sha256": "any",
    }
    known = yaml.safe_load(Path(plain.named["parameters"][0]).read_text())["/**"]["ros__parameters"]
    assert {
        "model",
        "detector.weights",
        "detector.weights_sha256",
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


SCRIPTS = {path.stem for path in (ROOT / "tao_anomaly" / "nodes").glob("*_node.py")}


def test_every_camera_of_the_file_gets_stages_in_its_namespace(load, tmp_path: Path) -> None:
    file = load(ROOT / "launch" / "multi_camera.launch.py")
    left, right = performed(file, model="shared")
    assert executables(included(load, left)) == ["pipeline_node"]
    namespaces = [dict(entry.named["launch_arguments"])["namespace"] for entry in (left, right)]
    assert namespaces == ["left", "right"]
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text(
        "cameras: {a/b: {image_topic: /c, image_transport: compressed, model: own, device: cpu,"
        " detector_weights: w, detector_weights_sha256: any, params_file: p.yaml}}"
    )
    (camera,) = performed(file, model="shared", cameras=str(cameras))
    (node,) = included(load, camera)
    assert node.named["remappings"] == [("image_raw", "/c")]
    settings = node.named["parameters"]
    assert settings[0] == "p.yaml"
    assert (settings[1]["model"], settings[1]["detector.weights"]) == ("own", "w")
    assert settings[1]["detector.weights_sha256"] == "any"


def test_cameras_together_are_one_process_as_by_the_command(load, tmp_path: Path) -> None:
    file = load(ROOT / "launch" / "multi_camera.launch.py")
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text("together: true\ncameras: {left: , right: }")
    (node,) = performed(file, cameras=str(cameras), model="shared")
    assert node.named["executable"] in SCRIPTS
    assert node.named["arguments"] == [str(cameras)]
    assert node.named["parameters"][1:] == [{"model": "shared"}]
    assert yaml.safe_load(Path(node.named["parameters"][0]).read_text())
    (process,) = graph.plan(graph.parse(["--cameras", str(cameras), "--model", "shared"]))
    assert (process.module, process.arguments) == ("cameras_node", (str(cameras),))


@pytest.mark.parametrize("composed", [False, True])
def test_a_replay_starts_what_its_command_starts(load, composed: bool) -> None:
    file = load(ROOT / "launch" / "replay.launch.py")
    given = {"bag": "b", "output": "o", "model": "m", "composed": str(composed).lower()}
    stages, node = performed(file, **given)
    words = ["b", "--output", "o", "--model", "m", *(["--composed"] if composed else [])]
    planned = replay.plan(replay.parse(words))
    nodes = [*included(load, stages), node]
    assert executables(nodes) == [process.module for process in planned]
    assert set(executables(nodes)) <= SCRIPTS
    for stage in nodes[:-1]:
        assert stage.named["parameters"][1]["use_sim_time"] is True
    (settings,) = node.named["parameters"]
    assert settings.keys() <= {entry.name for entry in fields(ReplaySettings)}
    same = planned[-1].parameters.keys() & settings.keys()
    assert {name: settings[name] for name in same} == {
        name: planned[-1].parameters[name] for name in same
    }
    assert {"source", "wait_for", "record", "lock_step"} <= same


def test_every_launch_file_is_installed_and_tested() -> None:
    names = {path.name for path in (ROOT / "launch").iterdir() if path.suffix == ".py"}
    assert names == {"anomaly.launch.py", "multi_camera.launch.py", "replay.launch.py"}
