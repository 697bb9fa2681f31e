"""Replays a bag through the stages and records their answers into a new bag, then ends.

    ros2 launch tao_anomaly replay.launch.py bag:=<bag> model:=<folder> output:=<new bag>

Without another pace in lock-step: the next image when the scores of the last one are back.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("tao_anomaly"))
FLAG = ["true", "false"]
STAGES = (
    "model",
    "detector_weights",
    "detector_weights_sha256",
    "device",
    "composed",
    "log_level",
)
IN_ONE = "image_raw scorer/anomalies"
IN_SEVERAL = "image_raw detector/features track_buffer/windows scorer/anomalies"

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="rosbag (mcap or sqlite3) to replay"),
    DeclareLaunchArgument(
        "output", default_value="", description="new bag for scores and events; empty: none"
    ),
    DeclareLaunchArgument(
        "storage", default_value="mcap", choices=["mcap", "sqlite3"], description="of that bag"
    ),
    DeclareLaunchArgument(
        "topic", default_value="", description="image topic of a bag that has several"
    ),
    DeclareLaunchArgument(
        "lock_step",
        default_value="true",
        choices=FLAG,
        description="next image when the last one is answered; else at the bag's own pace",
    ),
    DeclareLaunchArgument(
        "publish_rate", default_value="0.0", description="images a second without lock_step"
    ),
    DeclareLaunchArgument("model", default_value="", description="folder of the fitted model"),
    DeclareLaunchArgument(
        "detector_weights", default_value="", description="path or name of the detector weights"
    ),
    DeclareLaunchArgument(
        "detector_weights_sha256",
        default_value="",
        description="their SHA-256, or any to trust them",
    ),
    DeclareLaunchArgument("device", default_value="", description="torch device"),
    DeclareLaunchArgument(
        "composed", default_value="false", choices=FLAG, description="all stages in one process"
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="of all nodes"),
]


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    wait_for = IN_ONE if argument("composed") == "true" else IN_SEVERAL
    stages = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "anomaly.launch.py")),
        launch_arguments={
            **{name: argument(name) for name in STAGES},
            "use_sim_time": "true",
        }.items(),
    )
    replay = Node(
        package="tao_anomaly",
        executable="replay_node",
        parameters=[
            {
                "source": argument("bag"),
                "topic": argument("topic"),
                "lock_step": argument("lock_step") == "true",
                "publish_rate": float(argument("publish_rate")),
                "record": argument("output"),
                "record_storage": argument("storage"),
                "wait_for": f"{wait_for} scorer/events" if argument("output") else wait_for,
            }
        ],
        ros_arguments=["--log-level", argument("log_level")],
        output="screen",
        on_exit=Shutdown(),
    )
    return [stages, replay]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_nodes)])
