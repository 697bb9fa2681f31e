from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tao_anomaly.metrics.regions import MalformedRowsError, RegionTracks, ScoredBoxes
from tao_anomaly.metrics.text_formats import (
    read_region_tracks,
    read_scored_boxes,
    read_videos,
    write_detections,
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "clip.txt"


@pytest.mark.parametrize(
    "text",
    [
        "3,1,4,5,9,9\n2,6,5,7,8,9\n",
        "3, 1 ,4,5,9,9\r\n2,6,5,7,8,9\r\n",
        "3 1\t4 5 9 9\n\n  \n2 6 5 7 8 9",
        "3.0,1.0,4.0,5.0,9.0,9.0\n2.000e+00,6,5,7,8,9\n",
        "\ufeff3,1,4,5,9,9\n2,6,5,7,8,9\n",
    ],
)
def test_separators_line_ends_and_number_formats(file, text):
    file.write_bytes(text.encode())
    tracks = read_region_tracks(file)
    np.testing.assert_array_equal(tracks.track_ids, [3, 2])
    np.testing.assert_array_equal(tracks.frames, [1, 6])
    np.testing.assert_array_equal(tracks.boxes, [[4, 5, 9, 9], [5, 7, 8, 9]])
    boxes = read_scored_boxes(file)
    np.testing.assert_array_equal(boxes.frames, [3, 2])
    np.testing.assert_array_equal(boxes.boxes, [[1, 4, 5, 9], [6, 5, 7, 8]])
    np.testing.assert_array_equal(boxes.scores, [9, 9])


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_an_empty_file_has_no_rows(file, text):
    file.write_text(text)
    assert len(read_region_tracks(file)) == 0
    assert read_scored_boxes(file).boxes.shape == (0, 4)


def test_one_row_and_unsorted_rows_and_repeated_detections_are_fine(file):
    file.write_text("7,-5,-5,2000,2000,0.5\n")
    one = read_scored_boxes(file)
    assert (one.frames.shape, one.boxes.shape) == ((1,), (1, 4))
    file.write_text("7,0,0,1,1,0.5\n2,0,0,1,1,0.5\n7,0,0,1,1,0.5\n")
    np.testing.assert_array_equal(read_scored_boxes(file).frames, [7, 2, 7])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,0,0,5,5,nan", "the score must be finite, got nan"),
        ("1,0,0,5,5,-inf", "the score must be finite, got -inf"),
        ("1,0,nan,5,5,1", "box coordinates must be finite"),
        ("1,0,0,inf,5,1", "box coordinates must be finite"),
        ("1,6,0,5,5,1", "a box needs x1 <= x2 and y1 <= y2"),
        ("1,0,6,5,5,1", "a box needs x1 <= x2 and y1 <= y2"),
        ("-1,0,0,5,5,1", "the frame must be a whole number from 0 to 2147483647, got -1"),
        ("1.5,0,0,5,5,1", "the frame must be a whole number from 0 to 2147483647, got 1.5"),
        ("nan,0,0,5,5,1", "the frame must be a whole number"),
        ("1e300,0,0,5,5,1", "the frame must be a whole number"),
        ("30,0,0,5,5,1", "the clip has 30 frames, numbered from 0, got frame 30"),
        ("frame,x1,y1,x2,y2,score", "expected 6 numbers frame,x1,y1,x2,y2,score"),
        ("1,0,0,5,5", "expected 6 numbers"),
        ("1,0,0,5,5,1,2", "expected 6 numbers"),
        ("1,,0,5,5,1", "expected 6 numbers"),
        ("1,0,0,5,5,1,", "expected 6 numbers"),
    ],
)
def test_a_malformed_detection_is_refused_with_file_and_line(file, row, message):
    file.write_text(f"1,0,0,5,5,1\n\n{row}\n2,0,0,5,5,1\n")
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is compared whole below)
        read_scored_boxes(file, clip_length=30)
    assert str(error.value).startswith(f"{file}, line 3: {message}")


def test_undecodable_text_is_refused_with_file_and_line(file):
    file.write_bytes(b"1,0,0,5,5,1\n\xff\xfe\x00\x81,0,0,5,5,1\n")
    with pytest.raises(ValueError, match=r"clip\.txt, line 2: expected 6 numbers"):
        read_scored_boxes(file)


def test_two_regions_of_one_track_in_one_frame_are_refused_with_both_lines(file):
    file.write_text("4,7,0,0,5,5\n4,8,0,0,5,5\n5,7,0,0,5,5\n\n4,7,1,1,6,6\n")
    with pytest.raises(ValueError, match=r"line 1 and 5: track 4 has two regions in frame 7"):
        read_region_tracks(file)


def test_a_track_frame_beyond_the_clip_is_refused(file):
    file.write_text("0,9,0,0,5,5\n0,10,0,0,5,5\n")
    assert len(read_region_tracks(file, clip_length=11)) == 2
    with pytest.raises(ValueError, match=r"line 2: the clip has 10 frames"):
        read_region_tracks(file, clip_length=10)


def test_the_same_rules_hold_for_arrays():
    with pytest.raises(MalformedRowsError, match="score must be finite") as error:
        ScoredBoxes([0, 1], [[0, 0, 1, 1]] * 2, [1.0, np.nan])
    assert error.value.rows == (1,)
    with pytest.raises(MalformedRowsError) as error:
        RegionTracks([0, 1, 0], [2, 2, 2], [[0, 0, 1, 1]] * 3)
    assert error.value.rows == (0, 2)
    with pytest.raises(ValueError, match="expected 1 frames"):
        ScoredBoxes([0, 1], [[0, 0, 1, 1]], [1.0])
    with pytest.raises(ValueError, match="track_ids"):
        ScoredBoxes([0], [[0, 0, 1, 1]], [1.0], np.array(["1-1", "1-2"]))


def test_videos_are_the_union_of_both_directories(tmp_path):
    tracks, detections = tmp_path / "tracks", tmp_path / "detections"
    tracks.mkdir()
    (tracks / "b.txt").write_text("0,0,0,0,5,5\n")
    (tracks / "c.txt").write_text("0,0,0,0,5,5\n1,0,0,0,5,5\n")
    (tracks / "readme.md").write_text("not data")
    write_detections(
        detections,
        {"a": ScoredBoxes([0], [[0, 0, 5, 5]], [1.0]), "b": ScoredBoxes.empty()},
    )
    videos = read_videos(tracks, detections)
    assert videos.names == ("a", "b", "c")
    assert [len(video) for video in videos.ground_truth] == [0, 1, 2]
    assert [len(video) for video in videos.detections] == [1, 0, 0]


def test_directories_without_a_common_name_are_suspicious(tmp_path):
    tracks, detections = tmp_path / "tracks", tmp_path / "detections"
    tracks.mkdir()
    (tracks / "01_0014.txt").write_text("0,0,0,0,5,5\n")
    write_detections(detections, {"1_014": ScoredBoxes.empty()})
    with pytest.warns(UserWarning, match="all detections count as false positives"):
        read_videos(tracks, detections)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float64, (5, 2), elements=st.floats(-1e6, 1e6)),
    hnp.arrays(np.float64, 5, elements=st.floats(allow_nan=False, allow_infinity=False)),
)
def test_written_detections_read_back_equal(tmp_path_factory, corners, scores):
    directory = tmp_path_factory.mktemp("detections")
    written = ScoredBoxes(np.arange(5), np.hstack([corners, corners + 0.1]), scores)
    write_detections(directory, {"clip": written})
    assert [path.name for path in directory.iterdir()] == ["clip.txt"]
    read = read_scored_boxes(directory / "clip.txt")
    for name in ("frames", "boxes", "scores"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_written_rows_are_as_the_format_says(tmp_path):
    write_detections(tmp_path, {"clip": ScoredBoxes([12], [[0.5, 1, 2, 3]], [0.25])})
    assert (tmp_path / "clip.txt").read_bytes() == b"12,0.5,1.0,2.0,3.0,0.25\n"


@pytest.mark.parametrize("name", ["", "../clip", "a/b"])
def test_a_video_name_must_stay_in_the_directory(tmp_path, name):
    with pytest.raises(ValueError, match="plain file name"):
        write_detections(tmp_path, {name: ScoredBoxes.empty()})
