"""The list of cameras in a YAML file: what multi_camera.launch.py and `anomaly_graph` start."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
_MOST = 64  # cameras of one file


@dataclass(frozen=True)
class Camera:
    """One camera: the namespace of its stages and what differs from the parameter file.

    Empty: as the parameter file says.
    """

    namespace: str
    image_topic: str = "image_raw"
    image_transport: str = ""
    model: str = ""
    detector_weights: str = ""
    detector_weights_sha256: str = ""
    device: str = ""
    params_file: str = ""

    def arguments(self) -> dict[str, str]:
        """Return what is given, as the arguments of anomaly.launch.py."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True)
class CameraList:
    """The cameras of a file. together: one process serves all, with one detector."""

    cameras: tuple[Camera, ...]
    together: bool = False


def read_cameras(path: str | Path) -> CameraList:
    """Return the cameras of a file; raises ValueError naming what is wrong in it."""
    path = Path(path).expanduser()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not readable as YAML ({error})") from error
    entries = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not 0 < len(entries) <= _MOST:
        raise ValueError(
            f"{path}: expected a mapping `cameras` of 1 to {_MOST} namespaces, each with its"
            " image_topic"
        )
    unknown = document.keys() - {"cameras", "together"}
    together = document.get("together", False)
    if unknown or not isinstance(together, bool):
        raise ValueError(
            f"{path}: got {', '.join(sorted(map(str, unknown))) or f'together: {together!r}'},"
            " expected cameras, and together: true or false"
        )
    cameras = tuple(_camera(path, name, values) for name, values in entries.items())
    return CameraList(cameras, together)


def _camera(path: Path, namespace: Any, values: Any) -> Camera:
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ValueError(
            f"{path}: got namespace {namespace!r}, expected words of letters, digits and _ joined"
            " by /"
        )
    values = {} if values is None else values
    known = {entry.name for entry in fields(Camera)} - {"namespace"}
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise ValueError(f"{path}: camera {namespace}: got {values!r}, expected texts by name")
    if unknown := values.keys() - known:
        raise ValueError(
            f"{path}: camera {namespace}: got {', '.join(sorted(unknown))}, expected"
            f" {', '.join(sorted(known))}"
        )
    return Camera(namespace, **values)
