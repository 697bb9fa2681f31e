"""The ROS packages: found by colcon, of one version, and the same messages on the wire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import tao_anomaly

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"tao_anomaly": "ros.ament_python", "tao_anomaly_msgs": "ros.ament_cmake"}


def colcon(*arguments: str, cwd: Path) -> str:
    # A colcon_defaults.yaml counts where colcon is started, no user-wide one does.
    environment = {**os.environ, "COLCON_HOME": str(cwd / "no_colcon_home")}
    done = subprocess.run(
        [sys.executable, "-m", "colcon", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(output: str) -> dict[str, str]:
    rows = (line.split("\t") for line in output.splitlines())
    return {name: kind.strip("()") for name, _path, kind in rows}


def manifest(folder: str) -> ElementTree.Element:
    return ElementTree.parse(ROOT / folder / "package.xml").getroot()


def test_colcon_finds_both_packages_from_the_repository_root() -> None:
    assert listed(colcon("list", cwd=ROOT)) == PACKAGES


def test_colcon_finds_both_packages_from_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "any_name").symlink_to(ROOT)
    output = colcon("list", "--base-paths", "src", "src/*/tao_anomaly_msgs", cwd=tmp_path)
    assert listed(output) == PACKAGES


@pytest.mark.parametrize("folder", [".", "tao_anomaly_msgs"])
def test_version_and_licence_agree_everywhere(folder: str) -> None:
    package = manifest(folder)
    assert package.get("format") == "3"
    assert package.findtext("version") == tao_anomaly.__version__
    assert package.findtext("license") == "MIT"


def test_setup_py_states_the_version_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--name", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-2:] == ["tao_anomaly", tao_anomaly.__version__]


def test_every_message_file_is_built() -> None:
    built = (ROOT / "tao_anomaly_msgs" / "CMakeLists.txt").read_text()
    files = {f"msg/{path.name}" for path in (ROOT / "tao_anomaly_msgs" / "msg").iterdir()}
    assert set(re.findall(r"msg/\w+\.msg", built)) == files


def test_the_colcon_build_installs_nodes_launch_files_and_settings(tmp_path: Path) -> None:
    names = ("package.xml", "setup.py", "setup.cfg", "resource", "launch", "config", "tao_anomaly")
    source = tmp_path / "src" / "tao_anomaly"
    source.mkdir(parents=True)
    for name in names:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    colcon("build", "--packages-select", "tao_anomaly", cwd=tmp_path)
    installed = tmp_path / "install" / "tao_anomaly"
    modules = {path.stem for path in (ROOT / "tao_anomaly" / "nodes").glob("*_node.py")}
    nodes = modules - {"stage_node"}  # the class that the others share
    assert {p.name for p in (installed / "lib" / "tao_anomaly").iterdir()} == {
        "anomaly_graph",
        "anomaly_replay",
        *nodes,
    }
    (weights,) = (installed / "lib").rglob("tao_anomaly/detection/weights")
    assert {path.name for path in weights.iterdir()} == {"LICENSE", "README.md", "plaza.onnx"}
    share = installed / "share" / "tao_anomaly"
    for folder in ("launch", "config"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".xml", ".rviz"} and "training" not in path.parts:
                assert (share / path.relative_to(ROOT)).is_file(), path


def test_vision_msgs_has_the_fields_and_type_hashes_of_the_original(shared: Path) -> None:
    packages = pytest.importorskip(
        "ament_index_python.packages", reason="no ROS 2: run `make setup`, source underlay/env.sh"
    )
    folder = Path(packages.get_package_share_directory("vision_msgs")) / "msg"
    golden = json.loads((shared / "golden" / "vision_msgs" / "interfaces.json").read_text())
    hashes = {}
    for name in golden["messages"]:
        described = json.loads((folder / f"{name.rpartition('/')[2]}.json").read_text())
        found = {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}
        hashes[name] = found[name]
    assert hashes == {name: entry["rihs01"] for name, entry in golden["messages"].items()}
