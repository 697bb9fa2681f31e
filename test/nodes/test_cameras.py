from __future__ import annotations

from pathlib import Path

import pytest

from tao_anomaly.nodes import graph
from tao_anomaly.nodes.cameras import Camera, CameraList, read_cameras

ROOT = Path(__file__).resolve().parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "cameras.yaml"
    path.write_text(text)
    return path


def test_cameras_are_read_in_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "together: true\n"
        "cameras:\n"
        "  front/left: {image_topic: /camera/image_raw, image_transport: compressed}\n"
        "  back:\n",
    )
    left = Camera("front/left", image_topic="/camera/image_raw", image_transport="compressed")
    assert read_cameras(path) == CameraList((left, Camera("back")), together=True)
    assert Camera("back").arguments() == {"namespace": "back", "image_topic": "image_raw"}


def test_the_shipped_file_is_valid() -> None:
    shipped = read_cameras(ROOT / "config" / "cameras.yaml")
    assert [camera.namespace for camera in shipped.cameras] == ["left", "right"]
    assert not shipped.together


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cameras: [left]", "expected a mapping `cameras`"),
        ("cameras: {}", "1 to 64 namespaces"),
        ("left: {}", "expected a mapping `cameras`"),
        ("cameras: {/left: {}}", "got namespace '/left'"),
        ("cameras: {'left right': {}}", "got namespace 'left right'"),
        ("cameras: {1: {}}", "got namespace 1"),
        ("cameras: {left: {topic: x}}", "camera left: got topic, expected detector_weights"),
        ("cameras: {left: {model: 3}}", "expected texts by name"),
        ("cameras: {left: }\ntogether: 'yes'", "expected cameras, and together: true or false"),
        ("cameras: {left: }\nothers: {}", "got others"),
        ("cameras: !!python/object/apply:os.system ['true']", "not readable as YAML"),
        ("cameras: [", "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"cameras\.yaml: ") as caught:
        read_cameras(written(tmp_path, text))
    assert problem in str(caught.value)


def commands(path: Path, *arguments: str) -> list[list[str]]:
    options = graph.parse(["--cameras", str(path), *arguments])
    return [
        graph.command(node, camera)
        for camera in graph.of_cameras(options)
        for node in graph.plan(camera)
    ]


def test_the_command_starts_a_process_a_camera(tmp_path: Path) -> None:
    text = "cameras: {left: {image_topic: /a}, right: {image_topic: /b, model: other}}"
    left, right = commands(written(tmp_path, text), "--model", "shared")
    assert "__ns:=/left" in left
    assert "image_raw:=/a" in left
    assert 'model:="shared"' in left
    assert {"__ns:=/right", "image_raw:=/b", 'model:="other"'} <= set(right)
    assert left[2] == right[2] == "tao_anomaly.nodes.pipeline_node"


def test_cameras_together_are_one_process(tmp_path: Path) -> None:
    path = written(tmp_path, "together: true\ncameras: {left: , right: }")
    (both,) = commands(path, "--model", "shared")
    assert both[2:4] == ["tao_anomaly.nodes.cameras_node", str(path)]
    assert 'model:="shared"' in both
    assert not [word for word in both if word.startswith("__ns")]


def test_a_camera_given_beside_the_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "cameras: {left: }")
    with pytest.raises(ValueError, match="give no --source"):
        commands(path, "--source", "video.mp4")


def test_what_the_cameras_would_not_do_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "together: true\ncameras: {left: }")
    with pytest.raises(ValueError, match="give no --overlay and no --snapshots"):
        commands(path, "--snapshots", "kept")
    with pytest.raises(ValueError, match="--record is one video"):
        commands(path, "--record", "video.mp4")
