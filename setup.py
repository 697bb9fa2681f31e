import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = "tao_anomaly"
VERSION = re.search(r'__version__ = "(.+)"', Path(NAME, "__init__.py").read_text()).group(1)
NODES = (
    "detector_node",
    "track_buffer_node",
    "scorer_node",
    "pipeline_node",
    "cameras_node",
    "overlay_node",
    "video_source_node",
    "replay_node",
    "snapshot_node",
)


def shared(folder: str, pattern: str) -> tuple[str, list[str]]:
    """List the files of a folder for installation under share/tao_anomaly."""
    return f"share/{NAME}/{folder}", sorted(str(path) for path in Path(folder).glob(pattern))


setup(
    name=NAME,
    version=VERSION,
    description="Object-level video anomaly detection for ROS 2",
    license="MIT",
    maintainer="tao_anomaly maintainers",
    maintainer_email="maintainers@tao-anomaly.invalid",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        f"{NAME}.visualization": ["templates/*"],
        f"{NAME}.detection": ["weights/*"],  # AGPL-3.0, with its text
    },
    python_requires=">=3.11",
    install_requires=["setuptools"],
    zip_safe=True,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        shared("launch", "*.launch.py"),
        shared("config", "*.xml"),
        shared("config", "*.yaml"),
        shared("config/nodes", "*.yaml"),
        shared("config/rviz", "*.rviz"),
        shared("config/security", "*.xml"),
        shared("config/foxglove", "*.json"),
    ],
    entry_points={
        "console_scripts": [
            "anomaly_graph = tao_anomaly.nodes.graph:main",
            "anomaly_replay = tao_anomaly.nodes.replay:main",
            *(f"{node} = {NAME}.nodes.{node}:main" for node in NODES),
        ]
    },
)
