from __future__ import annotations

import resource
from pathlib import Path

import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from tao_anomaly.media.anomaly_bag import message_types
from tao_anomaly.media.bag_writer import BagTopic, BagWriter
from tao_anomaly.media.source import SourceError

CLOCK = "builtin_interfaces/msg/Time"
EVENT = "tao_anomaly_msgs/msg/AnomalyEvent"
TOPICS = [
    BagTopic("/left/clock", CLOCK),
    BagTopic("/left/scorer/events", EVENT, depth=50, transient=True),
]


def time_message(seconds: int) -> bytes:
    types = message_types()
    return bytes(types.serialize_cdr(types.types[CLOCK](sec=seconds, nanosec=5), CLOCK))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_is_read_back_with_its_quality_of_service(tmp_path: Path, storage: str) -> None:
    target = tmp_path / "bag"
    with BagWriter(target, TOPICS, storage=storage) as writer:
        for second in (1, 2, 3):
            assert not target.exists()
            writer.write("/left/clock", second * 10**9, time_message(second))
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    with AnyReader([target]) as reader:
        found = [
            (connection.topic, stamp, reader.deserialize(raw, connection.msgtype).sec)
            for connection, stamp, raw in reader.messages()
        ]
    assert found == [("/left/clock", second * 10**9, second) for second in (1, 2, 3)]
    facts = yaml.safe_load((target / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert facts["version"] == 9
    assert facts["storage_identifier"] == storage
    suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
    assert facts["relative_file_paths"] == [f"bag.{suffix}"]
    assert (target / f"bag.{suffix}").is_file()
    (first, second) = (e["topic_metadata"] for e in facts["topics_with_message_count"])
    assert first["type_description_hash"].startswith("RIHS01_")
    (profile,) = second["offered_qos_profiles"]
    assert (profile["history"], profile["depth"]) == ("keep_last", 50)
    assert (profile["reliability"], profile["durability"]) == ("reliable", "transient_local")
    assert first["offered_qos_profiles"][0]["durability"] == "volatile"


def test_definitions_are_embedded_so_that_no_package_is_needed(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", TOPICS) as writer:
        writer.write("/left/clock", 1, time_message(1))
    with Reader(tmp_path / "bag") as reader:
        definitions = {c.msgtype: c.msgdef.data for c in reader.connections}
    assert "string event_id" in definitions[EVENT].replace("string<=64", "string")
    assert "MSG: vision_msgs/BoundingBox2D" in definitions[EVENT]


def test_the_same_messages_make_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for run in ("first", "second"):
        with BagWriter(tmp_path / run / "bag", TOPICS) as writer:
            for second in range(20):
                writer.write("/left/clock", second, time_message(second))
        folder = tmp_path / run / "bag"
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"bag.mcap", "metadata.yaml"}


def test_nothing_is_left_after_an_error_or_on_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(KeyError), BagWriter(tmp_path / "bag", TOPICS) as writer:
        writer.write("/no/such/topic", 1, b"")
    assert list(tmp_path.iterdir()) == []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_four_megabytes(tmp_path / "bag")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def write_four_megabytes(target: Path) -> None:
    with BagWriter(target, TOPICS) as writer:
        for second in range(40):
            writer.write("/left/clock", second, bytes(100_000))


def test_what_a_killed_process_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".bag.part" / "bag").mkdir(parents=True)
    with BagWriter(tmp_path / "bag", TOPICS) as writer:
        writer.write("/left/clock", 1, time_message(1))
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_an_existing_bag_and_an_unknown_storage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="exists already"):
        BagWriter(tmp_path, TOPICS)
    with pytest.raises(SourceError, match="got storage 'csv', expected one of mcap, sqlite3"):
        BagWriter(tmp_path / "bag", TOPICS, storage="csv")
