from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tao_anomaly.media.score_table import (
    SCORE_SCHEMA,
    ScoreTableWriter,
    read_scores,
    table_of,
)
from tao_anomaly.structures import AnomalyScores, AnomalyState, TrackFeatures

MakeFeatures = Callable[..., TrackFeatures]
NAMES = {0: "person", 2: "car"}


def scores_of(image: TrackFeatures, scores: list[float], states: list[int]) -> AnomalyScores:
    values = np.array(scores, np.float32)
    return AnomalyScores(
        stamp_ns=image.stamp_ns,
        epoch=image.epoch,
        image_size=image.image_size,
        tracks=image.tracks,
        observations=np.arange(1, len(scores) + 1),
        states=np.array(states, np.int64),
        scores=values,
        raw=values * 2,
        terms=np.stack([values, -values], axis=1).reshape(-1, 2),
        term_names=("speed", "appearance"),
        contributions=np.stack([values * 2, -values], axis=1).reshape(-1, 2),
        leading=tuple("speed" if np.isfinite(s) else "" for s in scores),
        cues=tuple("2.0x usual speed" if np.isfinite(s) else "" for s in scores),
        threshold=1.5,
        model_id="abc",
    )


def writer(path: Path) -> ScoreTableWriter:
    return ScoreTableWriter(path, class_names=NAMES, model_id="abc")


def test_rows_are_objects_of_images_in_order(make_features: MakeFeatures, tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.parquet"
    boxes = [[1, 2, 3.5, 4], [5, 6, 7, 8]]
    image = make_features(1.2, {"3-1": [0] * 3, "3-2": [0] * 3}, boxes=boxes, epoch=3)
    image.tracks.class_ids[1] = 44
    states = [AnomalyState.ANOMALOUS, AnomalyState.WARMUP]
    with writer(path) as table:
        table.write(12, scores_of(image, [2.5, float("nan")], states))
        table.write(13, scores_of(make_features(1.3, {}), [], []))
        assert not path.exists()
    read = pq.read_table(path)
    assert read.schema.equals(SCORE_SCHEMA)
    assert read.schema.metadata[b"model_id"] == b"abc"
    rows = read.to_pylist()
    assert len(rows) == 2
    assert rows[0] == {
        "frame": 12,
        "stamp_ns": 1_200_000_000,
        "epoch": 3,
        "track": "3-1",
        "class_id": 0,
        "class_name": "person",
        "confidence": pytest.approx(0.9),
        "x1": 1.0,
        "y1": 2.0,
        "x2": 3.5,
        "y2": 4.0,
        "observations": 1,
        "state": "ANOMALOUS",
        "score": 2.5,
        "raw": 5.0,
        "threshold": 1.5,
        "leading": "speed",
        "cue": "2.0x usual speed",
        "contributions": [5.0, -2.5],
        "terms": [2.5, -2.5],
    }
    assert rows[1]["class_name"] == "44"
    assert rows[1]["state"] == "WARMUP"
    assert np.isnan(rows[1]["score"])
    assert read["score"].null_count == 0  # NaN, not missing


def test_long_tables_are_written_in_parts(make_features: MakeFeatures, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with writer(path) as table:
        for step in range(1200):
            image = make_features(step / 10, {"0-1": [0] * 3})
            table.write(step, scores_of(image, [float(step)], [AnomalyState.NORMAL]))
    assert pq.read_metadata(path).num_row_groups == 3
    assert pq.read_table(path)["score"].to_pylist() == list(map(float, range(1200)))


def test_nothing_to_write_is_an_empty_table(tmp_path: Path) -> None:
    with writer(tmp_path / "scores.parquet"):
        pass
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == 0


def test_after_an_exception_nothing_is_left_and_an_old_table_stays(
    make_features: MakeFeatures, tmp_path: Path
) -> None:
    path = tmp_path / "scores.parquet"
    image = make_features(0, {"0-1": [0] * 3})
    with writer(path) as table:
        table.write(0, scores_of(image, [1.0], [AnomalyState.NORMAL]))
    old = path.read_bytes()

    def fail() -> None:
        with writer(path) as table:
            table.write(0, scores_of(image, [2.0], [AnomalyState.NORMAL]))
            raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        fail()
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_reads_back_as_it_was_scored(make_features: MakeFeatures, tmp_path: Path) -> None:
    first = make_features(
        1.2, {"3-1": [0] * 3, "3-2": [0] * 3}, boxes=[[1, 2, 3.5, 4], [5, 6, 7, 8]]
    )
    shown = {
        12: scores_of(first, [2.5, float("nan")], [AnomalyState.ANOMALOUS, AnomalyState.WARMUP]),
        13: scores_of(make_features(1.3, {}), [], []),
        14: scores_of(make_features(1.4, {"3-1": [0] * 3}), [1.0], [AnomalyState.NORMAL]),
    }
    with ScoreTableWriter(
        tmp_path / "s.parquet", class_names=NAMES, model_id="abc", source="yard", rate=10.0
    ) as writes:
        for frame, scores in shown.items():
            writes.write(frame, scores)
    table = read_scores(tmp_path / "s.parquet")
    assert (table.source, table.rate, table.model_id, table.term_names) == (
        "yard",
        10.0,
        "abc",
        ("speed", "appearance"),
    )
    assert table.images.tolist() == [12, 13, 14]
    for (frame, found), (number, scores) in zip(table.replay(), shown.items(), strict=True):
        assert frame == number
        assert found.stamp_ns == scores.stamp_ns  # also of the image without an object
        assert found.tracks.ids == scores.tracks.ids
        assert found.cues == scores.cues
        np.testing.assert_array_equal(found.tracks.boxes, scores.tracks.boxes)
        np.testing.assert_array_equal(found.scores, scores.scores)
        np.testing.assert_array_equal(found.contributions, scores.contributions)
        np.testing.assert_array_equal(found.states, scores.states)
    same = table_of(shown, class_names=NAMES, source="yard", rate=10.0)
    assert same.class_names.tolist() == table.class_names.tolist()
    np.testing.assert_array_equal(same.contributions, table.contributions)


def test_another_file_is_no_table_of_scores(tmp_path: Path) -> None:
    pq.write_table(pa.table({"frame": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"other.parquet.*it lacks class_id"):
        read_scores(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"text.parquet: not a table of scores"):
        read_scores(tmp_path / "text.parquet")
