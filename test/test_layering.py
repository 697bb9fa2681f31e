"""Dependencies point down only (ast, so that nothing is imported)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tao_anomaly"
FILES = sorted(PACKAGE.rglob("*.py"))
ROS = {
    "rclpy",
    "tao_anomaly_msgs",
    "vision_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "geometry_msgs",
    "visualization_msgs",
    "diagnostic_msgs",
    "foxglove_msgs",
    "builtin_interfaces",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rosgraph_msgs",
    "cv_bridge",
    "launch",
    "launch_ros",
    "ament_index_python",
}


def imported(path: Path) -> Iterator[str]:
    """Yield the modules a file imports, anywhere in it, also for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{path}:{node.lineno}: relative import")


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def offenders(names: set[str], *, allowed: str) -> list[str]:
    """Return the files that import one of `names`, less those whose path begins with `allowed`."""
    return [
        relative(path)
        for path in FILES
        if roots(path) & names and not (allowed and relative(path).startswith(allowed))
    ]


def test_only_the_nodes_know_ros() -> None:
    assert offenders(ROS, allowed="nodes/") == []


def test_only_the_adapters_import_ultralytics() -> None:
    assert offenders({"ultralytics"}, allowed="detection/ultralytics_") == []


def test_nothing_imports_what_does_not_work_everywhere() -> None:
    """On a CPU-only torch torchvision fails; message_filters starves after a bag's loop."""
    assert (
        offenders({"torchvision", "torchmetrics", "lightning", "message_filters"}, allowed="") == []
    )


def test_these_tests_see_what_they_look_for() -> None:
    assert "detection/ultralytics_adapter.py" in offenders({"ultralytics"}, allowed="")
    assert "nodes/detector_node.py" in offenders(ROS, allowed="")
    assert len(FILES) > 40


# A layer may import those above it in this list, and itself.
LAYERS = [
    {"structures", "config", "atomic_file", "matrix_product", "openvino_graph"},
    {"weights", "command_line"},
    {"detection"},
    {"tracking"},
    {"features", "windows"},
    {"model", "scoring"},
    {"pipeline", "media", "visualization", "datasets", "metrics"},
    {
        "nodes",
        "fit",
        "infer",
        "export_detector",
        "extraction",
        "evaluation",
        "report",
    },
]


@pytest.mark.parametrize("level", range(len(LAYERS)))
def test_layers_import_only_what_lies_below(level: int) -> None:
    """A new module that belongs to no layer is added to LAYERS."""
    known = set().union(*LAYERS)
    assert {relative(path).partition("/")[0].removesuffix(".py") for path in FILES} <= known | {
        "__init__"
    }
    higher = set().union(*LAYERS[level + 1 :])
    for path in FILES:
        if relative(path).partition("/")[0].removesuffix(".py") in LAYERS[level]:
            used = {
                name.split(".")[1] for name in imported(path) if name.startswith("tao_anomaly.")
            }
            assert not used & higher, relative(path)
