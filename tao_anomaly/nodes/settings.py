"""Settings that only nodes have, and which settings each node takes.

``python -m tao_anomaly.nodes.settings`` prints all of the graph's as a parameter file, with
``--table`` as the table of the README.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import yaml

from tao_anomaly.config import (
    DetectorConfig,
    FeatureConfig,
    ScorerConfig,
    TrackerConfig,
    WindowConfig,
    setting,
)


@dataclass(frozen=True)
class NodeSettings:
    """What every node has."""

    autostart: bool = setting(
        True, "configure and activate at the start; else the lifecycle services do it"
    )
    stale_after: float = setting(
        2.0,
        "seconds without a message after which an input that has a publisher is an error in the"
        " diagnostics",
        minimum=0.1,
        live=True,
    )


@dataclass(frozen=True)
class ImageSettings:
    """How a node receives images."""

    image_transport: str = setting(
        "raw",
        "how images arrive: raw (sensor_msgs/Image) or compressed (sensor_msgs/CompressedImage on"
        " the image topic with /compressed added)",
        choices=("raw", "compressed"),
    )


@dataclass(frozen=True)
class ImageInputSettings(ImageSettings):
    """How a node receives images that it works on, one at a time."""

    max_wait: float = setting(
        0.0,
        "seconds that an image may wait while another is in work; one that waited longer is left"
        " out, and the next one that comes is answered at once; 0: as long as it takes",
        minimum=0.0,
        live=True,
    )


@dataclass(frozen=True)
class ModelSettings:
    """The fitted model, and how its threshold is refitted where it runs."""

    model: str = setting("", "folder of the fitted model (an artifact); required")
    calibration_file: str = setting(
        "",
        "file that the service ~/calibrate keeps its threshold in; where it exists it is used"
        " instead of the model's own; empty: not kept",
    )
    calibration_time: float = setting(
        60.0, "seconds of normal footage that ~/calibrate collects", minimum=0.1, live=True
    )


@dataclass(frozen=True)
class OverlaySettings:
    """The annotated image."""

    cache: int = setting(
        30, "latest images kept while their scores are awaited", minimum=1, maximum=1000
    )
    record: str = setting("", "video file to write the annotated images to; empty: none")
    camera_height: float = setting(
        0.0,
        "height of the camera over the ground in metres, for markers on the ground plane with the"
        " camera_info topic; 0: none",
        minimum=0.0,
    )
    camera_pitch: float = setting(
        0.0,
        "degrees that the camera looks down from the horizon, without roll",
        minimum=-90.0,
        maximum=90.0,
    )


@dataclass(frozen=True)
class SourceSettings:
    """What the video source publishes, and how fast."""

    source: str = setting("", "video file, folder of images, rosbag or camera index; required")
    rate: float = setting(
        0.0, "frames a second of the footage; 0: as the source says", minimum=0.0, maximum=1000.0
    )
    topic: str = setting("", "image topic of a bag that has several")
    publish_rate: float = setting(
        0.0,
        "images published a second; 0: at the footage's own pace (stamps always keep it)",
        minimum=0.0,
        maximum=1000.0,
    )
    lock_step: bool = setting(
        False, "publish the next image when the scores of the last one have arrived"
    )
    answer_timeout: float = setting(
        10.0, "seconds after which the scores of an image count as lost", minimum=0.1
    )
    wait_for: str = setting(
        "image_raw",
        "topics, separated by spaces, that must have a publisher and a subscriber before the first"
        " image",
    )
    wait_timeout: float = setting(120.0, "seconds to wait for them before giving up", minimum=0.0)
    frame_id: str = setting("camera", "frame_id of the headers")


@dataclass(frozen=True)
class ReplaySettings(SourceSettings):
    """What a replay publishes, and where it records the answers."""

    record: str = setting("", "folder of a new bag for scores and events; empty: not recorded")
    record_storage: str = setting("mcap", "storage of that bag", choices=("mcap", "sqlite3"))


@dataclass(frozen=True)
class SnapshotSettings:
    """The black box: what is kept of an event, and how much disk and memory it may take."""

    folder: str = setting(
        "snapshots",
        "folder of the mcap files, one an event; a node in a namespace uses a folder of that name"
        " within",
    )
    before: float = setting(5.0, "seconds kept before an event", minimum=0.0, maximum=600.0)
    after: float = setting(5.0, "seconds kept after its start", minimum=0.0, maximum=600.0)
    max_files: int = setting(100, "most files; the oldest is deleted first", minimum=1)
    max_disk: int = setting(2000, "most megabytes of all files together", minimum=1)
    max_memory: int = setting(
        256, "most megabytes of the messages kept; the oldest go first", minimum=1
    )
    rosbag2_service: str = setting(
        "/rosbag2_recorder/snapshot",
        "snapshot service of a rosbag2 recorder, called on an event if it is there; empty: none",
    )


# What each node takes beside NodeSettings, by the prefix of its parameters.
SETTINGS: dict[str, dict[str, type]] = {
    "detector_node": {
        "": ImageInputSettings,
        "detector": DetectorConfig,
        "tracker": TrackerConfig,
        "features": FeatureConfig,
    },
    "track_buffer_node": {"windows": WindowConfig},
    "scorer_node": {"": ModelSettings, "scorer": ScorerConfig},
    "overlay_node": {"": ImageSettings, "overlay": OverlaySettings},
    "video_source_node": {"": SourceSettings},
    "replay_node": {"": ReplaySettings},
    "snapshot_node": {"": ImageSettings, "snapshot": SnapshotSettings},
}


def parameter_name(prefix: str, name: str) -> str:
    """Return the name of the parameter of a setting."""
    return f"{prefix}.{name}" if prefix else name


def graph_parameters() -> Iterator[tuple[str, str, Any, str]]:
    """Yield node, name, default and description of every parameter of the graph."""
    every: dict[str, dict[str, type]] = {"every node": {"": NodeSettings}}
    for node, groups in {**every, **SETTINGS}.items():
        for prefix, schema in groups.items():
            for entry in fields(schema):
                default = getattr(schema(), entry.name)
                description = entry.metadata["description"]
                yield node, parameter_name(prefix, entry.name), default, description


def parameter_file() -> str:
    """Return the parameters of all stages as the text of a ROS 2 parameter file."""
    lines = [
        "# Parameters of the graph with their defaults. Made by",
        "#   python -m tao_anomaly.nodes.settings > config/nodes/anomaly.yaml",
        "/**:",
        "  ros__parameters:",
    ]
    written: set[str] = set()
    for node, name, default, description in graph_parameters():
        if node in ("video_source_node", "replay_node") or name in written:
            continue
        written.add(name)
        value = yaml.safe_dump(default).removesuffix("\n").removesuffix("\n...")
        lines += [f"    # {description}", f"    {name}: {value}"]
    return "\n".join(lines) + "\n"


def parameter_table() -> str:
    """Return every parameter of the graph as a Markdown table."""
    lines = ["| node | parameter | default | meaning |", "|---|---|---|---|"]
    for node, name, default, description in graph_parameters():
        value = json.dumps(default).replace("NaN", "nan")
        lines.append(f"| {node} | `{name}` | `{value}` | {description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(parameter_table() if "--table" in sys.argv else parameter_file(), end="")
