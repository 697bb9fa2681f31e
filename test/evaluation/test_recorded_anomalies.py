from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from tao_anomaly.config import ScorerConfig
from tao_anomaly.evaluation.command import main
from tao_anomaly.media.anomaly_bag import MESSAGE, message_types
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.structures import NANOSECONDS, AnomalyState
from tao_anomaly.visualization.findings import find_events
from tao_anomaly.visualization.recording import recording_of_bag
from tao_anomaly.visualization.report_page import ReportContent, report_data

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.yaml"
THRESHOLD = 1.0
START = 1_700_000_000 * NANOSECONDS
BOX = (10, 5, 20, 15)  # the anomalous bicycle by its outer edges

# frame, score of the bicycle
Scores = Sequence[tuple[int, float]]


def write_anomaly_bag(
    folder: Path,
    scores: Scores,
    *,
    start: int = START,
    plugin: StoragePlugin = StoragePlugin.MCAP,
    topics: Sequence[str] = ("/scorer/anomalies",),
    model_id: str = "abc123",
) -> None:
    """Record a message a frame at 10 Hz, each with the bicycle and a warming-up person."""
    store = message_types()
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        for topic in topics:
            connection = writer.add_connection(topic, MESSAGE, typestore=store)
            for frame, score in scores:
                stamp = start + frame * NANOSECONDS // 10
                data = store.serialize_cdr(message(store, stamp, score, model_id), MESSAGE)
                writer.write(connection, stamp, data)


def message(store: Any, stamp: int, score: float, model_id: str) -> Any:
    types = store.types
    time = types["builtin_interfaces/msg/Time"](
        sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS
    )
    state = AnomalyState.ANOMALOUS if score >= THRESHOLD else AnomalyState.NORMAL
    return types[MESSAGE](
        header=types["std_msgs/msg/Header"](stamp=time, frame_id="camera"),
        model_id=model_id,
        epoch=0,
        image_height=40,
        image_width=60,
        window_length=16,
        threshold=THRESHOLD,
        frame_score=score,
        term_names=["speed"],
        objects=[
            scored(store, "0-1", BOX, score, state),
            scored(store, "0-2", (30, 20, 40, 40), math.nan, AnomalyState.WARMUP),
        ],
    )


def scored(store: Any, track: str, box: Sequence[float], score: float, state: AnomalyState) -> Any:
    types = store.types
    x1, y1, x2, y2 = map(float, box)
    position = types["vision_msgs/msg/Point2D"](x=(x1 + x2) / 2, y=(y1 + y2) / 2)
    centre = types["vision_msgs/msg/Pose2D"](position=position, theta=0.0)
    return types["tao_anomaly_msgs/msg/AnomalyScore"](
        id=track,
        class_id="1",
        detection_score=0.9,
        bbox=types["vision_msgs/msg/BoundingBox2D"](center=centre, size_x=x2 - x1, size_y=y2 - y1),
        age=3,
        track_state=1,
        observations=3,
        state=int(state),
        score=score,
        score_raw=score,
        terms=np.array([score], np.float32),
        contributions=np.array([score], np.float32),
        leading="speed",
        cue="3.1x usual speed",
    )


@pytest.fixture
def evaluate(bench, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path):
    """Evaluate recordings of the clip ``ride``; return its metrics and card, or the error."""
    root = tmp_path / "ride.yaml"
    data = bench.root.parent
    root.write_text(
        f"name: ride\nrate: 10\ntest: [{{source: {data / 'ride'}, masks: {data / 'ride_masks'}}}]\n"
    )

    def call(*words: object) -> Any:
        arguments = ["dataset=custom", f"root={root}", f"output={tmp_path / 'out'}", "name=ride"]
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments, *map(str, words)])
        status = main(PUBLISHED)
        if status:
            return capsys.readouterr().err
        document = json.loads((tmp_path / "out" / "ride.json").read_text("utf-8"))
        assert [row["name"] for row in document["rows"]] == ["recorded anomalies"]
        return document["rows"][0]["metrics"], document["protocol"]

    return call


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_recorded_bag_by_hand(evaluate, tmp_path: Path, plugin: StoragePlugin) -> None:
    # The regions are on frames 4 to 7 of 10. Frame 2 is a false alarm that outscores them, frame 7
    # has no message, and frame 6 is below the threshold.
    scores = [(0, 0.1), (1, 0.1), (2, 5.0), (3, 0.1), (4, 3.0), (5, 3.0), (6, 0.5), (8, 0.1)]
    write_anomaly_bag(tmp_path / "bag", scores, plugin=plugin)
    found, card = evaluate(f"anomalies={tmp_path / 'bag'}")
    assert card["Recorded by"] == "model_id abc123"
    assert card["Frames without a message"] == "2"
    # After the false alarm (0.1 a frame): 2 of 4 regions, then 3; the four boxes at 0.1 are equal
    # and end the curve at 0.5 false positives a frame.
    assert found["rbdc"] == pytest.approx(0.9 * 0.75, abs=1e-6)
    assert found["tbdc"] == pytest.approx(0.9, abs=1e-6)
    point = found["operating_point"]["region_f1"]
    assert (point["correct"], point["raised"], point["present"]) == (2, 3, 4)
    # Of 6 normal frames the first three anomalous ones beat all but frame 2; frame 7 ties with 9.
    assert found["frame"]["micro_auc"] == pytest.approx((5 + 5 + 5 + 0.5) / 24, abs=1e-12)


def test_messages_stamped_like_the_frames_need_no_first_one(evaluate, tmp_path: Path) -> None:
    write_anomaly_bag(tmp_path / "bag", [(4, 2.0), (5, 2.0)], start=0)
    found, card = evaluate(f"anomalies={tmp_path / 'bag'}")
    assert found["rbdc"] == 0.5
    assert card["Frames without a message"] == "8"


def test_the_later_of_two_messages_of_a_frame_counts(evaluate, tmp_path: Path) -> None:
    write_anomaly_bag(tmp_path / "bag", [(0, 0.0), (4, 0.2), (4, 2.0)])
    found, _ = evaluate(f"anomalies={tmp_path / 'bag'}")
    assert found["operating_point"]["region_f1"]["correct"] == 1


def test_recordings_of_other_footage_are_refused(evaluate, tmp_path: Path) -> None:
    write_anomaly_bag(tmp_path / "long", [(i, 0.0) for i in range(12)])
    assert "2 of 12 messages have the stamp of no frame of clip ride" in evaluate(
        f"anomalies={tmp_path / 'long'}"
    )
    write_anomaly_bag(tmp_path / "empty", [])
    assert "holds no anomaly message" in evaluate(f"anomalies={tmp_path / 'empty'}")
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"no bag")
    assert f"{broken}: not a readable rosbag" in evaluate(f"anomalies={broken}")


def test_several_topics_need_a_choice(evaluate, tmp_path: Path) -> None:
    topics = ("/left/anomalies", "/right/anomalies")
    write_anomaly_bag(tmp_path / "bag", [(0, 0.0), (4, 2.0)], topics=topics)
    error = evaluate(f"anomalies={tmp_path / 'bag'}")
    assert "/left/anomalies, /right/anomalies" in error
    found, _ = evaluate(f"anomalies={tmp_path / 'bag'}", "topic=/left/anomalies")
    assert found["operating_point"]["region_f1"]["correct"] == 1


def test_a_folder_holds_a_bag_a_clip(evaluate, tmp_path: Path) -> None:
    write_anomaly_bag(tmp_path / "bags" / "ride", [(0, 0.0), (4, 2.0)])
    found, _ = evaluate(f"anomalies={tmp_path / 'bags'}")
    assert found["operating_point"]["region_f1"]["correct"] == 1
    (tmp_path / "none").mkdir()
    assert "no recording of clip ride; looked for" in evaluate(f"anomalies={tmp_path / 'none'}")


def test_the_model_that_recorded_them_explains_events(
    bench, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path
) -> None:
    scores = [(i, 3.0 if i >= 4 else 0.1) for i in range(10)]
    model_id = load_artifact(bench.model).model_id
    for clip in ("ride", "walk"):
        write_anomaly_bag(tmp_path / "bags" / clip, scores, model_id=model_id)
    words = ["dataset=custom", f"root={bench.root}", f"store={bench.store}", f"model={bench.model}"]
    words += [f"output={tmp_path / 'out'}", "name=ride", "baselines=false", "pixels=none"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words, f"anomalies={tmp_path / 'bags'}"])
    assert main(PUBLISHED) == 0, capsys.readouterr().err
    document = json.loads((tmp_path / "out" / "ride.json").read_text("utf-8"))
    assert [row["name"] for row in document["rows"]] == ["recorded anomalies"]
    assert document["rows"][0]["metrics"]["pixel"] is None
    assert model_id in document["protocol"]["Model"]
    details = json.loads((tmp_path / "out" / "ride" / "details.json").read_text("utf-8"))
    found = next(entry for entry in details["evidence"] if entry["clip"] == "ride")
    assert {place["clip"][:6] for place in found["neighbours"]} == {"normal"}
    write_anomaly_bag(tmp_path / "other" / "ride", scores)
    write_anomaly_bag(tmp_path / "other" / "walk", scores)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words, f"anomalies={tmp_path / 'other'}"])
    assert main(PUBLISHED) == 1
    assert (
        f"recorded by model_id abc123, but {bench.model} is {model_id}" in capsys.readouterr().err
    )


def test_a_recorded_bag_is_read_for_a_report(tmp_path: Path) -> None:
    write_anomaly_bag(tmp_path / "bag", [(0, 0.1), (1, 3.0), (2, 5.0), (3, 4.0), (4, 3.0)])
    recording = recording_of_bag(tmp_path / "bag")
    assert (recording.rate, recording.frame_count) == (pytest.approx(10.0), 5)
    assert recording.frame_scores().tolist() == pytest.approx([0.1, 3.0, 5.0, 4.0, 3.0])
    (event,) = find_events(recording, ScorerConfig())
    assert (event.track, event.score, event.frames.tolist()) == ("0-1", 5.0, [1, 2, 3, 4])
    assert event.contributions.tolist() == [5.0]
    assert list(recording.images()) == []  # it holds no image topic
    content = ReportContent(title="bag", recordings=[recording])
    data = report_data(content, events=[event], videos=4)
    assert data["events"][0]["cue"] == "3.1x usual speed"
