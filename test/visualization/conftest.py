from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.media.score_table import LATENCY_FILE, ScoreTableWriter, table_of
from tao_anomaly.structures import NANOSECONDS, AnomalyScores, AnomalyState, TrackFeatures
from tao_anomaly.visualization.recording import Recording

THRESHOLD = 2.0
NAMES = {0: "person"}
MakeScores = Callable[..., AnomalyScores]
Rows = Sequence[Sequence[float]]
Images = Callable[[Rows], dict[int, AnomalyScores]]


@pytest.fixture
def make_scores(make_features: Callable[..., TrackFeatures]) -> MakeScores:
    """Build scores of objects given as (box, state, score), tracks 0-0, 0-1, and so on."""

    def make(
        *objects: tuple[Sequence[float], AnomalyState, float],
        seconds: float = 0.0,
        size: tuple[int, int] = (480, 640),
        cue: str = "3.1x usual speed",
        threshold: float = 2.0,
        epoch: int = 0,
    ) -> AnomalyScores:
        names = {f"{epoch}-{i}": [0] * 3 for i in range(len(objects))}
        features = make_features(0, names, boxes=[box for box, _, _ in objects])
        values = np.array([score for _, _, score in objects], np.float32)
        count = len(objects)
        return AnomalyScores(
            stamp_ns=round(seconds * NANOSECONDS),
            epoch=epoch,
            image_size=size,
            tracks=features.tracks,
            observations=np.zeros(count, np.int64),
            states=np.array([state for _, state, _ in objects], np.int64),
            scores=values,
            raw=values,
            terms=np.zeros((count, 1), np.float32),
            term_names=("speed",),
            contributions=values[:, None],
            leading=("speed",) * count,
            cues=(cue,) * count,
            threshold=threshold,
            model_id="m",
        )

    return make


@pytest.fixture
def images(make_features: Callable[..., TrackFeatures]) -> Images:
    """Scores at 10 Hz: image i has one object a value of row i, which is its score."""

    def make(rows: Rows) -> dict[int, AnomalyScores]:
        return {i: scores_of(make_features, i, list(row)) for i, row in enumerate(rows)}

    return make


def scores_of(make: Callable[..., TrackFeatures], i: int, values: list[float]) -> AnomalyScores:
    names = {f"0-{n}": [0] * 3 for n in range(len(values))}
    boxes = [[10 + 30 * n + i % 5, 10, 30 + 30 * n + i % 5, 50] for n in range(len(values))]
    tracks = make(i / 10, names, boxes=boxes).tracks
    scores = np.array(values, np.float32)
    states = np.where(scores >= THRESHOLD, AnomalyState.ANOMALOUS, AnomalyState.NORMAL)
    states[np.isnan(scores)] = AnomalyState.WARMUP
    parts = np.stack([scores * 0.75, scores * 0.25], axis=1).reshape(-1, 2)
    return AnomalyScores(
        stamp_ns=i * NANOSECONDS // 10,
        epoch=0,
        image_size=(120, 160),
        tracks=tracks,
        observations=np.full(len(values), 4),
        states=states.astype(np.int64),
        scores=scores,
        raw=scores,
        terms=parts,
        term_names=("speed", "appearance"),
        contributions=parts,
        leading=("speed",) * len(values),
        cues=("3.1x usual speed",) * len(values),
        threshold=THRESHOLD,
        model_id="m",
    )


@pytest.fixture
def event_rows() -> list[list[float]]:
    """An event of the first object: it begins at image 3, is highest at 5 and ends after 8."""
    high = [[3.0, 1.0]] * 2 + [[5.0, 1.0]] + [[3.0, 1.0]] * 3
    return [[0.5, 1.0]] * 3 + high + [[0.1, 1.0]] * 20


@pytest.fixture
def recorded(images: Images) -> Callable[..., Recording]:
    """Make the recording of such rows at 10 Hz; facts: of a Recording."""

    def make(rows: Rows, **facts: object) -> Recording:
        table = table_of(images(rows), class_names=NAMES, rate=10.0)
        known = {"name": "yard", "rate": 10.0, "frame_count": len(rows), **facts}
        return Recording(table=table, **known)

    return make


@pytest.fixture
def scored(images: Images, event_rows: Rows, tmp_path: Path) -> Path:
    """What infer leaves: a table of scores of images that are there."""
    footage = tmp_path / "<b>yard & co"
    footage.mkdir()
    shown = images(event_rows)
    with ScoreTableWriter(
        tmp_path / "run" / "scores.parquet",
        class_names=NAMES,
        model_id="m",
        source=str(footage),
        rate=10.0,
    ) as table:
        for i, scores in shown.items():
            picture = np.full((120, 160, 3), 4 * i, np.uint8)
            cv2.imwrite(str(footage / f"{i:03d}.png"), picture)
            table.write(i, scores)
    (tmp_path / "run" / LATENCY_FILE).write_text(json.dumps([0.02] * len(shown)))
    return tmp_path / "run"
