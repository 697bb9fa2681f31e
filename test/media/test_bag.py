from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tao_anomaly.media.source import SourceError, open_source
from tao_anomaly.structures import ImageArray

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
STORE = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000  # s
Message = tuple[str, bytes]  # type, serialised
Record = Callable[..., Path]


def image(number: int) -> ImageArray:
    return np.full((4, 6, 3), (number, 2 * number, 3 * number), np.uint8)


def header(nanoseconds: int) -> Any:
    seconds, rest = divmod(nanoseconds, 10**9)
    stamp = STORE.types["builtin_interfaces/msg/Time"](sec=START + seconds, nanosec=rest)
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")


def raw(number: int, **changes: object) -> Message:
    """An rgb8 image with two bytes of padding a row, stamped 1 ms after its tenth of a second."""
    rows = np.pad(image(number)[..., ::-1].reshape(4, 18), ((0, 0), (0, 2)))
    fields: dict[str, object] = {
        "header": header(number * 10**8 + 10**6),
        "height": 4,
        "width": 6,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": 20,
        "data": rows.reshape(-1).astype(np.uint8),
    }
    return RAW, bytes(STORE.serialize_cdr(STORE.types[RAW](**{**fields, **changes}), RAW))


def compressed(number: int, *, suffix: str = ".png", share: float = 1.0) -> Message:
    content = cv2.imencode(suffix, image(number))[1].reshape(-1)
    message = STORE.types[COMPRESSED](
        header=header(number * 10**8 + 10**6),
        format=suffix[1:],
        data=content[: int(share * len(content))],
    )
    return COMPRESSED, bytes(STORE.serialize_cdr(message, COMPRESSED))


@pytest.fixture(params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Record:
    """Write a bag of topics, a message every 0.1 s."""

    def write(topics: Mapping[str, Sequence[Message]]) -> Path:
        with Writer(tmp_path / "bag", version=9, storage_plugin=request.param) as writer:
            for topic, messages in topics.items():
                kind = messages[0][0]
                connection = writer.add_connection(topic, kind, typestore=STORE)
                for number, (_, data) in enumerate(messages):
                    writer.write(connection, START * 10**9 + number * 10**8, data)
        return tmp_path / "bag"

    return write


def storage_file(bag: Path) -> Path:
    return next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))


@pytest.mark.parametrize("make", [raw, compressed])
def test_every_image_comes_with_its_headers_stamp(
    record: Record, make: Callable[[int], Message]
) -> None:
    source = open_source(record({"/camera/image": [make(number) for number in range(8)]}))
    assert source.length == 8
    assert source.rate == pytest.approx(10, rel=1e-6)
    for _ in range(2):
        frames = list(source)
        assert [frame.index for frame in frames] == list(range(8))
        assert [frame.stamp_ns for frame in frames] == [
            START * 10**9 + number * 10**8 + 10**6 for number in range(8)
        ]
        for frame in frames:
            np.testing.assert_array_equal(frame.image, image(frame.index))
    assert source.skipped == 0


def test_the_storage_file_is_the_bag_with_or_without_its_metadata(record: Record) -> None:
    bag = record({"/image": [raw(number) for number in range(3)]})
    assert len(list(open_source(storage_file(bag)))) == 3
    (bag / "metadata.yaml").unlink()
    assert len(list(open_source(storage_file(bag)))) == 3


def test_several_image_topics_must_be_chosen_from(record: Record) -> None:
    bag = record({"/left": [raw(1)], "/right": [compressed(2), compressed(3)]})
    message = r"got topic \(none given\), expected one of its image topics: /left, /right; choose"
    with pytest.raises(SourceError, match=message):
        open_source(bag)
    with pytest.raises(SourceError, match="got topic /rear, expected one of"):
        open_source(bag, topic="/rear")
    assert [frame.image[0, 0, 0] for frame in open_source(bag, topic="/right")] == [2, 3]


def test_a_bag_without_images_says_so(record: Record) -> None:
    kind = "std_msgs/msg/String"
    text = bytes(STORE.serialize_cdr(STORE.types[kind](data="no image"), kind))
    with pytest.raises(SourceError, match="expected one of its image topics: none"):
        open_source(record({"/chatter": [(kind, text)]}))


def test_messages_that_do_not_decode_are_skipped_and_counted(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    kind, whole = raw(2)
    messages = [raw(0), raw(1, encoding="32FC1"), (kind, whole[:30]), raw(3, height=0), raw(4)]
    source = open_source(record({"/image": messages}))
    with caplog.at_level(logging.WARNING):
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 4]
    assert source.skipped == 3
    assert "message 1 skipped: got image encoding '32FC1'" in caplog.text
    assert "message 2 skipped: Could not deserialize" in caplog.text
    assert "message 3 skipped: got an empty image" in caplog.text


def test_a_truncated_jpeg_is_skipped(record: Record) -> None:
    messages = [compressed(0), compressed(1, suffix=".jpg", share=0.9), compressed(2)]
    source = open_source(record({"/image": messages}))
    assert [frame.index for frame in source] == [0, 2]
    assert source.skipped == 1


def test_headers_without_a_stamp_stand_for_the_recording_time(record: Record) -> None:
    types = STORE.types
    unset = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=0, nanosec=0), frame_id=""
    )
    bag = record({"/image": [raw(number, header=unset) for number in range(3)]})
    assert [frame.stamp_ns for frame in open_source(bag)] == [
        START * 10**9 + number * 10**8 for number in range(3)
    ]


def test_half_a_bag_is_a_clear_error(record: Record) -> None:
    path = storage_file(record({"/image": [raw(number) for number in range(200)]}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (path.parent / "metadata.yaml").unlink()
    with pytest.raises(SourceError, match="not a readable rosbag"):
        open_source(path)


def test_a_bag_damaged_at_its_end_is_read_that_far(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    path = storage_file(record({"/image": [raw(number) for number in range(200)]}))
    content = path.read_bytes()
    middle = int(len(content) * (0.2 if path.suffix == ".mcap" else 0.9))
    path.write_bytes(content[:middle] + bytes(200) + content[middle + 200 :])
    source = open_source(path)
    frames = list(source)
    assert 0 < len(frames) < 200
    assert len(frames) + source.skipped == 200
    assert f"the last {source.skipped} messages cannot be read" in caplog.text


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3", "bag.bag"])
def test_what_is_no_bag_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no bag")
    with pytest.raises(SourceError, match=f"{name}: not a readable rosbag"):
        open_source(tmp_path / name)


def test_a_folder_with_broken_metadata_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    with pytest.raises(SourceError, match="not a readable rosbag"):
        open_source(tmp_path)
