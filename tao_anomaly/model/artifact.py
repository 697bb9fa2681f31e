"""A fitted model on disk: a folder of safetensors and JSON, verified when loaded.

``config.json`` names kind, feature_id, feature layout and settings and holds the SHA-256 of
``model.safetensors`` and ``calibration.json``. Its own hash, less the exports, is the model_id. No
pickle is read or written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.structures import FeatureLayout

FORMAT_VERSION = 1
CONFIG, TENSORS, CALIBRATION = "config.json", "model.safetensors", "calibration.json"
_NOT_IN_ID = ("model_id", "exports")


class ArtifactError(ValueError):
    """An artifact that cannot be trusted or read; the message names the file or key."""


@dataclass(frozen=True)
class Artifact:
    """A verified model.

    kind: name of the window model that reads `config` and `tensors`. feature_id and layout: the
    features it was fitted on. model_id: 12 hex digits, equal for equal content. exports: verified
    files of other engines, by name.
    """

    folder: Path
    kind: str
    feature_id: str
    layout: FeatureLayout
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    calibration: Calibration
    model_id: str
    exports: dict[str, Path]

    def tensor(self, key: str, shape: Sequence[int | None]) -> np.ndarray:
        """Return a tensor after checking its shape (None: any); raises ArtifactError."""
        path = self.folder / TENSORS
        if key not in self.tensors:
            raise ArtifactError(f"{path}: key {key!r} is missing; fit the model again")
        value = self.tensors[key]
        fits = len(value.shape) == len(shape) and all(
            want in (None, have) for have, want in zip(value.shape, shape, strict=True)
        )
        if not fits or not np.isfinite(value).all():
            wanted = tuple("any" if side is None else side for side in shape)
            problem = f"shape {value.shape}" if not fits else "values that are not finite"
            raise ArtifactError(f"{path}: key {key!r} has {problem}, expected finite {wanted}")
        return value


def check_target(folder: Path) -> None:
    """Raise ArtifactError where a model may not be saved: in a folder of other things, or a file.

    Call it before a long fit.
    """
    if not folder.exists() or (folder / CONFIG).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise ArtifactError(f"{folder}: holds something else; name a new folder for the model")


def save_artifact(
    folder: Path,
    *,
    kind: str,
    feature_id: str,
    layout: FeatureLayout,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    calibration: Calibration,
) -> str:
    """Write an artifact, all of it or nothing, and return its model_id.

    An artifact that is there already is replaced; another folder is refused with ArtifactError.
    """
    check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        arrays = {key: np.ascontiguousarray(value) for key, value in sorted(tensors.items())}
        (made / TENSORS).write_bytes(safetensors.numpy.save(arrays))
        (made / CALIBRATION).write_text(_dump(asdict(calibration)))
        document = {
            "format": FORMAT_VERSION,
            "kind": kind,
            "feature_id": feature_id,
            "layout": asdict(layout),
            "config": dict(config),
            "files": {name: _digest(made / name) for name in (TENSORS, CALIBRATION)},
            "exports": {},
        }
        document["model_id"] = _identify(document)
        (made / CONFIG).write_text(_dump(document))
        made.chmod(0o755)
        _replace_folder(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return str(document["model_id"])


def add_export(folder: Path, name: str, content: bytes) -> None:
    """Put a file of another engine into an artifact and record its SHA-256; keeps the model_id."""
    document = _read_config(folder)
    write_atomically(folder / name, content)
    document["exports"] = {**document["exports"], name: _digest(folder / name)}
    write_atomically(folder / CONFIG, _dump(document))


def load_artifact(folder: Path | str) -> Artifact:
    """Read and verify an artifact; raises ArtifactError naming the file or key that is wrong."""
    folder = Path(folder).expanduser()
    document = _read_config(folder)
    for name, digest in {**document["files"], **document["exports"]}.items():
        _verify(folder, name, digest)
    try:
        tensors = safetensors.numpy.load_file(folder / TENSORS)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{folder / TENSORS}: not a safetensors file ({error})") from error
    return Artifact(
        folder=folder,
        kind=document["kind"],
        feature_id=document["feature_id"],
        layout=_build(FeatureLayout, document["layout"], folder / CONFIG),
        config=document["config"],
        tensors=tensors,
        calibration=_build(Calibration, _read_json(folder / CALIBRATION), folder / CALIBRATION),
        model_id=document["model_id"],
        exports={name: folder / name for name in document["exports"]},
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ArtifactError(f"{path}: not found; expected the folder of a fitted model")
    document = _read_json(path)
    if document.get("format") != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: key 'format' is {document.get('format')!r}, expected {FORMAT_VERSION}; fit"
            " the model again with this version of tao_anomaly"
        )
    wanted: dict[str, type] = {
        **dict.fromkeys(("kind", "feature_id", "model_id"), str),
        **dict.fromkeys(("layout", "config", "files", "exports"), dict),
    }
    for key, kind in wanted.items():
        if not isinstance(document.get(key), kind):
            raise ArtifactError(f"{path}: key {key!r} is missing or no {kind.__name__}")
    if set(document["files"]) != {TENSORS, CALIBRATION}:
        raise ArtifactError(f"{path}: key 'files' must name {TENSORS} and {CALIBRATION}")
    if document["model_id"] != _identify(document):
        raise ArtifactError(f"{path}: its content does not match its 'model_id'; it was edited")
    return document


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(document, dict):
        raise ArtifactError(f"{path}: got a {type(document).__name__}, expected a JSON object")
    return document


def _build(kind: Any, values: dict[str, Any], path: Path) -> Any:
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: {error}") from error


def _verify(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise ArtifactError(f"{path}: not found, though {CONFIG} lists it")
    if _digest(path) != digest:
        raise ArtifactError(
            f"{path}: its SHA-256 is not the one in {CONFIG}; it is damaged or was edited"
        )


def _identify(document: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in document.items() if key not in _NOT_IN_ID}
    return hashlib.sha256(_dump(kept).encode()).hexdigest()[:12]


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace_folder(made: Path, folder: Path) -> None:
    """Put `made` where `folder` is; the old one goes last."""
    old = made.with_name(f"{made.name}.old")
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
