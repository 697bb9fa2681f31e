from __future__ import annotations

import resource
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from tao_anomaly.media.bag_writer import BagTopic
from tao_anomaly.media.black_box import BlackBox, EventClip, Recorded, SnapshotFolder

TIME = "builtin_interfaces/msg/Time"
TOPICS = [BagTopic("/image", TIME), BagTopic("/scores", TIME)]
SECOND = 10**9
MESSAGE = bytes([0, 1, 0, 0]) + bytes(8)  # a Time of zeros


def clip_at(second: int, *, size: int = 0, event_id: str = "0-1/1") -> EventClip:
    messages = tuple(
        Recorded("/image", second * SECOND + i, MESSAGE + bytes(size)) for i in range(3)
    )
    return EventClip(event_id, second * SECOND, messages)


def feed(box: BlackBox, start: float, end: float) -> list[EventClip]:
    """Ten images a second, the scores of each after the next image."""
    clips = []
    for tenth in range(round(start * 10), round(end * 10)):
        for topic, late in (("/image", 0), ("/scores", 1)):
            clip = box.add(topic, (tenth - late) * SECOND // 10, MESSAGE)
            clips += [clip] if clip else []
    return clips


def spans(clip: EventClip) -> dict[str, tuple[float, float, int]]:
    """First and last second and number of the messages of each topic."""
    found = {}
    for topic in ("/image", "/scores"):
        stamps = [m.stamp_ns / SECOND for m in clip.messages if m.topic == topic]
        found[topic] = (min(stamps), max(stamps), len(stamps))
    return found


def test_a_clip_holds_the_seconds_before_and_after_of_every_topic() -> None:
    box = BlackBox(before=2.0, after=1.0, max_bytes=10**6)
    assert feed(box, 100, 110) == []
    assert box.trigger("0-7/3", 1095 * SECOND // 10)
    (clip,) = feed(box, 110, 115)
    assert (clip.event_id, clip.stamp_ns) == ("0-7/3", 1095 * SECOND // 10)
    assert spans(clip) == {"/image": (107.5, 110.5, 31), "/scores": (107.5, 110.5, 31)}
    assert [m.stamp_ns for m in clip.messages] == sorted(m.stamp_ns for m in clip.messages)
    assert clip.file_name == "anomaly_19700101T000149.500000000_0-7-3.mcap"
    assert not box.collecting


def test_an_event_within_a_clip_makes_no_second_one() -> None:
    box = BlackBox(before=1.0, after=2.0, max_bytes=10**6)
    feed(box, 0, 5)
    assert box.trigger("a", 4 * SECOND)
    assert not box.trigger("b", 5 * SECOND)
    assert [clip.event_id for clip in feed(box, 5, 10)] == ["a"]
    assert box.trigger("c", 9 * SECOND)


def test_memory_is_bounded_and_what_is_missing_counted() -> None:
    box = BlackBox(before=5.0, after=5.0, max_bytes=20 * len(MESSAGE))
    feed(box, 0, 60)
    assert len(box._kept) == 20
    assert box.dropped > 0
    quiet = BlackBox(before=1.0, after=1.0, max_bytes=10**9)
    feed(quiet, 0, 60)
    assert len(quiet._kept) <= 2 * 21 + 2  # the seconds before, and one for late scores
    assert quiet.dropped == 0


def test_a_bag_that_begins_anew_ends_the_clip_and_is_never_spliced_to_it() -> None:
    box = BlackBox(before=2.0, after=10.0, max_bytes=10**6)
    feed(box, 100, 103)
    box.trigger("a", 102 * SECOND)
    (clip,) = feed(box, 10, 12)
    assert spans(clip)["/image"] == (100.0, 102.9, 30)
    assert all(entry.stamp_ns < 12 * SECOND for entry in box._kept)


def test_a_clip_is_finished_when_nothing_follows() -> None:
    box = BlackBox(before=1.0, after=5.0, max_bytes=10**6)
    feed(box, 0, 3)
    assert box.finish() is None
    box.trigger("a", 2 * SECOND)
    clip = box.finish()
    assert clip is not None
    assert spans(clip)["/image"] == (1.0, 2.9, 20)


def test_a_saved_clip_is_one_mcap_file_that_rosbags_reads(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path / "box", max_files=5, max_bytes=10**7)
    path = folder.save(clip_at(5), TOPICS)
    assert list((tmp_path / "box").iterdir()) == [path]
    with AnyReader([path]) as reader:
        found = [(c.topic, stamp) for c, stamp, _ in reader.messages()]
    assert found == [("/image", 5 * SECOND + i) for i in range(3)]


def test_the_oldest_of_its_own_files_go_first_and_no_other_is_touched(tmp_path: Path) -> None:
    others = [tmp_path / "notes.txt", tmp_path / "anomaly.mcap", tmp_path / "anomaly_1_a.mcap"]
    for other in others:
        other.write_text("mine")
    folder = SnapshotFolder(tmp_path, max_files=2, max_bytes=10**7)
    paths = [folder.save(clip_at(second), TOPICS) for second in (10, 30, 20)]
    assert folder.files() == sorted(paths[1:])
    assert all(other.read_text() == "mine" for other in others)
    by_bytes = SnapshotFolder(tmp_path / "b", max_files=99, max_bytes=700_000)
    paths = [by_bytes.save(clip_at(second, size=100_000), TOPICS) for second in (1, 2, 3)]
    assert by_bytes.files() == [paths[2]] or by_bytes.files() == paths[1:]
    assert sum(path.stat().st_size for path in by_bytes.files()) <= 700_000


def test_a_clip_that_never_fits_costs_no_older_one(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, max_files=3, max_bytes=500_000)
    kept = folder.save(clip_at(1), TOPICS)
    with pytest.raises(OSError, match="keep fewer seconds or allow more"):
        folder.save(clip_at(2, size=10**6), TOPICS)
    assert folder.files() == [kept]


def test_a_full_disk_leaves_the_older_files_and_no_part(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, max_files=3, max_bytes=10**8)
    kept = folder.save(clip_at(1), TOPICS)
    content = kept.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            folder.save(clip_at(2, size=1 << 20), TOPICS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_bytes() == content
    assert folder.save(clip_at(2, size=1 << 20), TOPICS).is_file()  # there is room again


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".unfinished" / "anomaly_x").mkdir(parents=True)
    SnapshotFolder(tmp_path, max_files=1, max_bytes=1)
    assert list(tmp_path.iterdir()) == []
