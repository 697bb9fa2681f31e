"""One clip's track features in one Parquet file.

A row is an object in a frame; a frame without an object has one row whose object columns are null,
so that every processed frame is in the file. Columns: dataset, clip, feature_id, frame, stamp_ns,
epoch, image_height, image_width; track, box (4), class_id, confidence, age, state, appearance,
kinematics, grid. What holds for the whole clip is JSON in the file's metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tao_anomaly.structures import FeatureLayout, FloatArray, IntArray, TrackFeatures, Tracks
from tao_anomaly.windows import FeatureMismatchError

VERSION = 1
UNFINISHED = ".unfinished"
_KEY = b"tao_anomaly"
_ROWS = 4096  # rows buffered, and the least in a row group
_PRECISION = {"float16": pa.float16(), "float32": pa.float32()}


class StoreError(ValueError):
    """A feature store or a file of it that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """What holds for a whole clip.

    rate: frames a second. precision: of appearance, grid and class scores, float16 or float32
    (kinematics are float32). settings: of detection, tracking and features, JSON. frames: images
    processed. skipped: images left out, by reason.
    """

    dataset: str
    clip: str
    split: str
    rate: float
    feature_id: str
    layout: FeatureLayout
    precision: str = "float16"
    settings: dict[str, Any] = field(default_factory=dict)
    class_names: dict[int, str] = field(default_factory=dict)
    frames: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the metadata of the file."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    @staticmethod
    def from_json(text: bytes) -> ClipInfo:
        """Read the metadata; raises KeyError, TypeError or ValueError."""
        values = json.loads(text)
        version = values.pop("version")
        if version != VERSION:
            raise ValueError(f"got version {version}, expected {VERSION}")
        values["layout"] = FeatureLayout(**values["layout"])
        values["class_names"] = {int(k): str(v) for k, v in values["class_names"].items()}
        return ClipInfo(**values)


class ClipWriter:
    """Writes a clip's frames as they come; the file appears complete, on leaving the context.

    Left by an exception, or killed, it leaves no file of the clip's name.
    """

    def __init__(self, path: Path, info: ClipInfo) -> None:
        if info.precision not in _PRECISION:
            raise StoreError(f"got precision {info.precision!r}, expected float16 or float32")
        self.path = path
        self.info = info
        self._schema = _schema(info)
        self._frames: list[tuple[int, TrackFeatures]] = []
        self._rows = 0
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")

    def __enter__(self) -> ClipWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._unfinished, self._schema)
        return self

    def add(self, index: int, features: TrackFeatures) -> None:
        """Take in the features of frame `index`; raises FeatureMismatchError for another id."""
        if features.feature_id != self.info.feature_id:
            raise FeatureMismatchError(
                f"got features {features.feature_id}, expected {self.info.feature_id} as the clip"
                f" {self.info.clip} began with; extract the clip anew"
            )
        self._frames.append((index, features))
        self._rows += max(1, len(features.tracks))
        self.info = replace(self.info, frames=self.info.frames + 1)
        if self._rows >= _ROWS:
            self._flush()

    def skip(self, reasons: dict[str, int]) -> None:
        """Note the images left out, by reason."""
        self.info = replace(self.info, skipped=dict(reasons))

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
            self._writer.add_key_value_metadata({_KEY: self.info.to_json()})
        self._writer.close()
        if kind is None:
            os.replace(self._unfinished, self.path)
        else:
            self._unfinished.unlink()

    def _flush(self) -> None:
        if self._frames:
            self._writer.write_table(_table(self._frames, self.info, self._schema))
        self._frames, self._rows = [], 0


def read_info(path: Path) -> ClipInfo:
    """Return what holds for the whole clip; raises StoreError for any other file."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return ClipInfo.from_json(metadata[_KEY])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path}: not a complete clip of features ({error}); delete it and extract again"
        ) from error


def iterate_clip(path: Path) -> Iterator[tuple[int, TrackFeatures]]:
    """Yield number and features of every processed frame, in order, without holding them all.

    Raises StoreError.
    """
    info = read_info(path)
    file = pq.ParquetFile(path, memory_map=True)
    for group in range(file.num_row_groups):
        try:
            table = file.read_row_group(group)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{path}: damaged ({error}); delete it and extract again") from error
        yield from _frames(table.combine_chunks(), info)


def read_frame_numbers(path: Path) -> IntArray:
    """Return the numbers of the processed frames, rising."""
    column = pq.read_table(path, columns=["frame"])["frame"]
    return np.unique(column.to_numpy()).astype(np.int64)


def _schema(info: ClipInfo) -> pa.Schema:
    wide, layout = _PRECISION[info.precision], info.layout
    text = pa.dictionary(pa.int32(), pa.string())
    columns: dict[str, pa.DataType] = {
        "dataset": text,
        "clip": text,
        "feature_id": text,
        "frame": pa.int32(),
        "stamp_ns": pa.int64(),
        "epoch": pa.int32(),
        "image_height": pa.int32(),
        "image_width": pa.int32(),
        "track": pa.string(),
        "box": pa.list_(pa.float32(), 4),
        "class_id": pa.int32(),
        "confidence": pa.float32(),
        "age": pa.int32(),
        "state": pa.int8(),
        "appearance": pa.list_(wide, layout.appearance),
        "kinematics": pa.list_(pa.float32(), layout.kinematics),
    }
    if layout.grid:
        columns["grid"] = pa.list_(wide, layout.classes_slice.start - layout.grid_slice.start)
    if layout.classes:
        columns["class_scores"] = pa.list_(wide, layout.classes)
    return pa.schema(columns)


def _table(frames: list[tuple[int, TrackFeatures]], info: ClipInfo, schema: pa.Schema) -> pa.Table:
    counts = np.array([len(features.tracks) for _, features in frames])
    rows = np.maximum(counts, 1)
    missing = np.repeat(counts == 0, rows)
    columns = {
        **_of_frames(frames, rows, info, schema),
        **_of_objects([features for _, features in frames], missing, info.layout, schema),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _of_frames(
    frames: list[tuple[int, TrackFeatures]], rows: np.ndarray, info: ClipInfo, schema: pa.Schema
) -> dict[str, pa.Array]:
    values: dict[str, list[int]] = {
        "frame": [index for index, _ in frames],
        "stamp_ns": [features.stamp_ns for _, features in frames],
        "epoch": [features.epoch for _, features in frames],
        "image_height": [features.image_size[0] for _, features in frames],
        "image_width": [features.image_size[1] for _, features in frames],
    }
    columns = {
        name: pa.array(np.repeat(np.array(numbers, np.int64), rows)).cast(schema.field(name).type)
        for name, numbers in values.items()
    }
    constant = pa.array(np.zeros(int(rows.sum()), np.int32))
    for name in ("dataset", "clip", "feature_id"):
        columns[name] = pa.DictionaryArray.from_arrays(constant, pa.array([getattr(info, name)]))
    return columns


def _of_objects(
    frames: list[TrackFeatures], missing: np.ndarray, layout: FeatureLayout, schema: pa.Schema
) -> dict[str, pa.Array]:
    tracks = [features.tracks for features in frames]
    features = np.concatenate([frame.features for frame in frames])
    ids = np.full(len(missing), None, object)
    ids[~missing] = [track_id for t in tracks for track_id in t.ids]
    values: dict[str, np.ndarray] = {
        "box": np.concatenate([t.boxes for t in tracks]),
        "class_id": np.concatenate([t.class_ids for t in tracks]),
        "confidence": np.concatenate([t.scores for t in tracks]),
        "age": np.concatenate([t.ages for t in tracks]),
        "state": np.concatenate([t.states for t in tracks]),
        "appearance": features[:, layout.appearance_slice],
        "kinematics": features[:, layout.kinematics_slice],
    }
    if layout.grid:
        values["grid"] = features[:, layout.grid_slice]
    if layout.classes:
        values["class_scores"] = features[:, layout.classes_slice]
    columns = {
        name: _with_nulls(array, missing, schema.field(name)) for name, array in values.items()
    }
    columns["track"] = pa.array(ids, pa.string())
    return columns


def _with_nulls(values: np.ndarray, missing: np.ndarray, column: pa.Field) -> pa.Array:
    """Return the column with a null where `missing`, the values in order elsewhere."""
    is_list = values.ndim == 2
    kind = (column.type.value_type if is_list else column.type).to_pandas_dtype()
    spread = np.zeros((len(missing), *values.shape[1:]), kind)
    with np.errstate(over="ignore"):
        spread[~missing] = values
    if is_list and not np.array_equal(np.isfinite(spread[~missing]), np.isfinite(values)):
        raise StoreError(f"{column.name}: a value is beyond float16; set precision=float32")
    if not is_list:
        return pa.array(spread, column.type, mask=missing)
    flat = pa.array(spread.ravel(), column.type.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(missing))


def _frames(table: pa.Table, info: ClipInfo) -> Iterator[tuple[int, TrackFeatures]]:
    index = table["frame"].to_numpy()
    seen = table["track"].is_valid().to_numpy()
    tracks, features = _tracks(table, seen), _features(table, info.layout)
    starts = np.flatnonzero(np.r_[True, np.diff(index) != 0])
    ends = np.r_[starts[1:], len(index)]
    # Objects before each row: where the frame's objects lie among those that are not null.
    before = np.r_[0, np.cumsum(seen)]
    stamps, epochs = table["stamp_ns"].to_numpy(), table["epoch"].to_numpy()
    heights, widths = table["image_height"].to_numpy(), table["image_width"].to_numpy()
    for start, end in zip(starts, ends, strict=True):
        rows = np.arange(before[start], before[end])
        yield (
            int(index[start]),
            TrackFeatures(
                stamp_ns=int(stamps[start]),
                epoch=int(epochs[start]),
                image_size=(int(heights[start]), int(widths[start])),
                tracks=tracks.select(rows),
                features=features[rows],
                feature_id=info.feature_id,
            ),
        )


def _tracks(table: pa.Table, seen: np.ndarray) -> Tracks:
    def numbers(name: str) -> np.ndarray:
        return table[name].drop_null().to_numpy()

    return Tracks(
        ids=tuple(table["track"].drop_null().to_pylist()),
        boxes=_lists(table, "box", 4),
        scores=numbers("confidence"),
        class_ids=numbers("class_id").astype(np.int64),
        ages=numbers("age").astype(np.int64),
        states=numbers("state").astype(np.int64),
    )


def _features(table: pa.Table, layout: FeatureLayout) -> FloatArray:
    parts = [
        _lists(table, "appearance", layout.appearance),
        _lists(table, "kinematics", layout.kinematics),
    ]
    if layout.grid:
        size = layout.classes_slice.start - layout.grid_slice.start
        parts.append(_lists(table, "grid", size))
    if layout.classes:
        parts.append(_lists(table, "class_scores", layout.classes))
    return np.concatenate(parts, axis=1)


def _lists(table: pa.Table, name: str, size: int) -> FloatArray:
    """Return the values of a list column without its nulls, ``(N, size)`` float32."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[name].chunks]
    flat = np.concatenate(chunks) if chunks else np.zeros(0)
    return flat.astype(np.float32).reshape(-1, size)
