"""Anomaly scores as a Parquet table, one row an object and image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tao_anomaly.structures import AnomalyScores, AnomalyState

SCORE_SCHEMA = pa.schema(
    [
        ("frame", pa.int32()),
        ("stamp_ns", pa.int64()),
        ("epoch", pa.int32()),
        ("track", pa.string()),
        ("class_id", pa.int16()),
        ("class_name", pa.string()),
        ("confidence", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
        ("observations", pa.int16()),
        ("state", pa.string()),
        ("score", pa.float32()),
        ("raw", pa.float32()),
        ("threshold", pa.float32()),
        ("leading", pa.string()),
        ("terms", pa.list_(pa.float32())),
    ]
)
_CHUNK = 512  # images held in memory before they are written


class ScoreTableWriter:
    """Writes scores as they come; the file appears under its name when all is written.

    Use it as a context manager: after an exception nothing is left behind.
    """

    def __init__(self, path: Path, *, class_names: Mapping[int, str], model_id: str) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._class_names = class_names
        self._schema = SCORE_SCHEMA.with_metadata({"model_id": model_id})
        self._batches: list[pa.RecordBatch] = []

    def __enter__(self) -> ScoreTableWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, frame: int, scores: AnomalyScores) -> None:
        """Add the objects of one image."""
        self._batches.append(self._batch(frame, scores))
        if len(self._batches) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, self._schema))
            self._batches.clear()

    def _batch(self, frame: int, scores: AnomalyScores) -> pa.RecordBatch:
        tracks, count = scores.tracks, len(scores.tracks)
        names = [self._class_names.get(int(i), str(i)) for i in tracks.class_ids]
        columns = [
            [frame] * count,
            [scores.stamp_ns] * count,
            [scores.epoch] * count,
            list(tracks.ids),
            tracks.class_ids,
            names,
            tracks.scores,
            *tracks.boxes.T,
            scores.observations,
            [AnomalyState(int(state)).name for state in scores.states],
            scores.scores,
            scores.raw,
            [scores.threshold] * count,
            list(scores.leading),
            list(scores.terms),
        ]
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)
