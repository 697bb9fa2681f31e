"""Starts the stages of every camera of a YAML file, each in its namespace.

    ros2 launch tao_anomaly multi_camera.launch.py cameras:=my_cameras.yaml model:=<folder>

With `together: true` in the file one process serves all cameras, with one detector.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from tao_anomaly.nodes.cameras import read_cameras

SHARE = Path(get_package_share_directory("tao_anomaly"))

ARGUMENTS = [
    DeclareLaunchArgument(
        "cameras",
        default_value=str(SHARE / "config" / "cameras.yaml"),
        description="YAML file of cameras",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "nodes" / "anomaly.yaml"),
        description="parameters of all nodes",
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="folder of the fitted model; empty: as the files say",
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="of all nodes"),
]


def start_cameras(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    shared = {"params_file": argument("params_file"), "log_level": argument("log_level")}
    if argument("model"):
        shared["model"] = argument("model")
    chosen = read_cameras(argument("cameras"))
    if chosen.together:
        return [
            Node(
                package="tao_anomaly",
                executable="cameras_node",
                arguments=[argument("cameras")],
                parameters=[
                    shared["params_file"],
                    *([{"model": shared["model"]}] if "model" in shared else []),
                ],
                ros_arguments=["--log-level", shared["log_level"]],
                output="screen",
            )
        ]
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "anomaly.launch.py"))
    return [
        IncludeLaunchDescription(
            source,
            launch_arguments={"composed": "true", **shared, **camera.arguments()}.items(),
        )
        for camera in chosen.cameras
    ]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_cameras)])
