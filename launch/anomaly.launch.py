"""Starts all stages on one camera: detector, track buffer, scorer and, if wanted, the overlay.

    ros2 launch tao_anomaly anomaly.launch.py model:=<folder> image_topic:=/camera/image_raw

Names are relative: for a second camera include this file again with another namespace.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushROSNamespace

from tao_anomaly.nodes.graph import NICENESS, PROFILE_VARIABLES

CONFIG = Path(get_package_share_directory("tao_anomaly")) / "config"
FLAG = ["true", "false"]

ARGUMENTS = [
    DeclareLaunchArgument("namespace", default_value="", description="of all nodes and topics"),
    DeclareLaunchArgument("image_topic", default_value="image_raw", description="the images"),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="how images arrive; empty: as params_file says",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "nodes" / "anomaly.yaml"),
        description="parameters of the nodes",
    ),
    DeclareLaunchArgument(
        "detector_weights",
        default_value="",
        description="path or name of the detector weights; empty: as params_file says",
    ),
    DeclareLaunchArgument(
        "detector_weights_sha256",
        default_value="",
        description="their SHA-256, or any to trust them; empty: as params_file says",
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="folder of the fitted model; empty: as params_file says",
    ),
    DeclareLaunchArgument(
        "device", default_value="", description="torch device; empty: as params_file says"
    ),
    DeclareLaunchArgument(
        "composed", default_value="false", choices=FLAG, description="all stages in one process"
    ),
    DeclareLaunchArgument(
        "overlay", default_value="false", choices=FLAG, description="publish the annotated image"
    ),
    DeclareLaunchArgument(
        "snapshots",
        default_value="",
        description="folder in which events are kept as mcap files; empty: they are not",
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=FLAG, description="start RViz on the overlay"
    ),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=FLAG, description="time of the topic /clock"
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=FLAG,
        description="configure and activate the nodes; else the lifecycle services do it",
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="of all nodes"),
]


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def stage(executable: str) -> Node:
        return Node(
            package="tao_anomaly",
            executable=executable,
            prefix=f"nice -n {NICENESS[executable]}" if executable in NICENESS else None,
            parameters=[argument("params_file"), overrides],
            remappings=[("image_raw", argument("image_topic"))],
            ros_arguments=["--log-level", argument("log_level")],
            output="screen",
        )

    # Only what was given here counts more than the parameter file.
    given = {
        "image_transport": argument("image_transport"),
        "detector.weights": argument("detector_weights"),
        "detector.weights_sha256": argument("detector_weights_sha256"),
        "detector.device": argument("device"),
        "model": argument("model"),
    }
    overrides = {name: value for name, value in given.items() if value}
    for flag in ("use_sim_time", "autostart"):
        overrides[flag] = argument(flag) == "true"

    if argument("composed") == "true":
        nodes = [stage("pipeline_node")]
    else:
        nodes = [stage("detector_node"), stage("track_buffer_node"), stage("scorer_node")]
    if "true" in (argument("overlay"), argument("rviz")):
        nodes.append(stage("overlay_node"))
    if argument("snapshots"):
        overrides["snapshot.folder"] = argument("snapshots")
        nodes.append(stage("snapshot_node"))
    if argument("rviz") == "true":
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(CONFIG / "rviz" / "anomaly.rviz")],
                remappings=[("/overlay/image", "overlay/image")],
                parameters=[{"use_sim_time": overrides["use_sim_time"]}],
            )
        )
    return [GroupAction([PushROSNamespace(argument("namespace")), *nodes])]


def environment() -> list[LaunchDescriptionEntity]:
    # Whole images between processes need more shared memory than Fast DDS takes by default, and
    # spinning threads would take the processors from the other nodes. What the user has set stays.
    chosen = {}
    if "OMP_WAIT_POLICY" not in os.environ:
        chosen["OMP_WAIT_POLICY"] = "PASSIVE"
    if not any(name in os.environ for name in PROFILE_VARIABLES):
        chosen[PROFILE_VARIABLES[0]] = str(CONFIG / "fastdds_profile.xml")
    return [SetEnvironmentVariable(name, value) for name, value in chosen.items()]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, *environment(), OpaqueFunction(function=start_nodes)])
