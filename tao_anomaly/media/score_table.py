"""Anomaly scores as a Parquet table, one row an object and image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tao_anomaly.structures import (
    AnomalyScores,
    AnomalyState,
    FloatArray,
    IntArray,
    Tracks,
    TrackState,
)

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
        ("cue", pa.string()),
        ("terms", pa.list_(pa.float32())),
        ("contributions", pa.list_(pa.float32())),
    ]
)
LATENCY_FILE = "latency.json"  # beside a table: seconds that each image took
_CHUNK = 512  # images held in memory before they are written
_KEY = b"tao_anomaly"


class ScoreTableWriter:
    """Writes scores as they come; the file appears under its name when all is written.

    source: what was scored. rate: its frames a second. Use it as a context manager: after an
    exception nothing is left behind.
    """

    def __init__(
        self,
        path: Path,
        *,
        class_names: Mapping[int, str],
        model_id: str,
        source: str = "",
        rate: float = 0.0,
    ) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._class_names = class_names
        self._schema = SCORE_SCHEMA.with_metadata({"model_id": model_id})
        self._facts: dict[str, Any] = {"source": source, "rate": rate}
        self._frames: list[int] = []
        self._batches: list[pa.RecordBatch] = []

    def __enter__(self) -> ScoreTableWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                facts = self._facts | {"frames": self._frames}
                self._writer.add_key_value_metadata({_KEY: json.dumps(facts)})
            self._writer.close()
            if kind is None:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, frame: int, scores: AnomalyScores) -> None:
        """Add the objects of one image."""
        self._facts |= {"term_names": scores.term_names, "image_size": scores.image_size}
        self._frames.append(frame)
        self._batches.append(_batch(frame, scores, self._class_names, self._schema))
        if len(self._batches) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, self._schema))
            self._batches.clear()


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a recording as arrays, a row an object and image, in order of the images.

    frames, stamps, boxes ``(N, 4)``, states, scores, thresholds, contributions ``(N, K)``, and by
    row: tracks, class_names, cues. images ``(F,)``: numbers of all images scored, also of those
    without an object. rate: frames a second, 0 where it is not known. latency: seconds that images
    took, which may be none.
    """

    frames: IntArray
    stamps: IntArray
    epochs: IntArray
    tracks: np.ndarray
    class_ids: IntArray
    class_names: np.ndarray
    boxes: FloatArray
    states: IntArray
    scores: FloatArray
    thresholds: FloatArray
    contributions: FloatArray
    cues: np.ndarray
    images: IntArray
    term_names: tuple[str, ...] = ()
    image_size: tuple[int, int] = (1, 1)
    model_id: str = ""
    source: str = ""
    rate: float = 0.0
    latency: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def replay(self) -> Iterator[tuple[int, AnomalyScores]]:
        """Yield number and scores of every image, as far as the rows tell.

        An image without an object has the stamp of the last one with, and a step of the rate more
        for each image between.
        """
        starts = np.searchsorted(self.frames, self.images, side="left")
        ends = np.searchsorted(self.frames, self.images, side="right")
        step = round(1e9 / self.rate) if self.rate > 0 else 1
        stamp, last = 0, 0
        for frame, start, end in zip(self.images.tolist(), starts, ends, strict=True):
            if end > start:
                stamp, last = int(self.stamps[start]), frame
            yield frame, self._image(slice(start, end), stamp + (frame - last) * step)

    def _image(self, rows: slice, stamp_ns: int) -> AnomalyScores:
        count = rows.stop - rows.start
        zeros = np.zeros(count, np.int64)
        names = self.term_names
        leading = self.contributions[rows]
        return AnomalyScores(
            stamp_ns=stamp_ns,
            epoch=int(self.epochs[rows.start]) if count else 0,
            image_size=self.image_size,
            tracks=Tracks(
                tuple(self.tracks[rows]),
                self.boxes[rows],
                np.ones(count, np.float32),
                self.class_ids[rows],
                zeros,
                np.full(count, int(TrackState.TRACKED), np.int64),
            ),
            observations=zeros,
            states=self.states[rows],
            scores=self.scores[rows],
            raw=self.scores[rows],
            terms=np.full_like(leading, np.nan),
            term_names=names,
            contributions=leading,
            leading=("",) * count,
            cues=tuple(self.cues[rows]),
            threshold=float(self.thresholds[rows.start]) if count else float("nan"),
            model_id=self.model_id,
        )


def read_scores(path: Path) -> ScoreTable:
    """Read what ScoreTableWriter wrote; raises ValueError naming a file that is something else."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a table of scores ({error})") from error
    missing = sorted(set(SCORE_SCHEMA.names) - set(table.schema.names))
    metadata = table.schema.metadata or {}
    if missing or _KEY not in (pq.read_metadata(path).metadata or {}):
        raise ValueError(
            f"{path}: not a table of scores with explanations (it lacks"
            f" {', '.join(missing) or 'metadata'}); score the footage again"
        )
    facts = json.loads(pq.read_metadata(path).metadata[_KEY])
    return _arrays(table, facts | {"model_id": metadata.get(b"model_id", b"").decode()})


def table_of(
    images: Mapping[int, AnomalyScores], *, class_names: Mapping[int, str], **facts: Any
) -> ScoreTable:
    """Return scores by number of their image as a table; facts: source, rate, latency."""
    batches = [_batch(frame, scores, class_names, SCORE_SCHEMA) for frame, scores in images.items()]
    for scores in images.values():
        facts |= {
            "term_names": scores.term_names,
            "image_size": scores.image_size,
            "model_id": scores.model_id,
        }
        break
    table = pa.Table.from_batches(batches, SCORE_SCHEMA)
    return _arrays(table, {**facts, "frames": list(images)})


def _arrays(table: pa.Table, facts: Mapping[str, Any]) -> ScoreTable:
    column = {name: table[name] for name in SCORE_SCHEMA.names}
    names = tuple(facts.get("term_names", ()))
    values = column["contributions"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    states = {state.name: int(state) for state in AnomalyState}
    order = np.argsort(column["frame"].to_numpy(), kind="stable")

    def numbers(name: str, kind: type) -> np.ndarray:
        return column[name].to_numpy().astype(kind)[order]

    def texts(name: str) -> np.ndarray:
        return np.array(column[name].to_pylist(), object)[order]

    boxes = np.stack([numbers(side, np.float32) for side in ("x1", "y1", "x2", "y2")], axis=1)
    return ScoreTable(
        frames=numbers("frame", np.int64),
        stamps=numbers("stamp_ns", np.int64),
        epochs=numbers("epoch", np.int64),
        tracks=texts("track"),
        class_ids=numbers("class_id", np.int64),
        class_names=texts("class_name"),
        boxes=boxes,
        states=np.array([states[name] for name in texts("state")], np.int64),
        scores=numbers("score", np.float32),
        thresholds=numbers("threshold", np.float32),
        contributions=values.astype(np.float32).reshape(len(table), len(names))[order],
        cues=texts("cue"),
        images=np.unique(np.array(facts["frames"], np.int64)),
        term_names=names,
        image_size=tuple(facts.get("image_size", (1, 1))),
        model_id=facts.get("model_id", ""),
        source=facts.get("source", ""),
        rate=float(facts.get("rate", 0.0)),
        latency=tuple(facts.get("latency", ())),
    )


def _batch(
    frame: int, scores: AnomalyScores, class_names: Mapping[int, str], schema: pa.Schema
) -> pa.RecordBatch:
    tracks, count = scores.tracks, len(scores.tracks)
    names = [class_names.get(int(i), str(i)) for i in tracks.class_ids]
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
        list(scores.cues),
        list(scores.terms),
        list(scores.contributions),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
