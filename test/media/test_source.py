from __future__ import annotations

import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.media.source import SourceError, open_clips, open_source, stamp_of


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images 1..12, named without leading zeros, whose grey value is ten times their number."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(1, 13):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 10, 3), 10 * number, np.uint8))
    return folder


def greys(folder: Path) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in open_source(folder)]


def test_a_ped2_clip(ped2: Path) -> None:
    source = open_source(ped2 / "Test" / "Test004")
    assert (source.length, source.rate, source.skipped) == (180, 10.0, 0)
    assert source.name == str(ped2 / "Test" / "Test004")
    frames = [frame for frame, _ in zip(source, range(3), strict=False)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000, 200_000_000]
    assert all(frame.size == (240, 360) for frame in frames)
    first = cv2.imread(str(ped2 / "Test/Test004/001.jpg"))
    assert np.array_equal(frames[0].image, first)


def test_a_colour_video(shared: Path) -> None:
    source = open_source(shared / "data" / "vtest.avi")
    assert (source.length, source.rate) == (795, 10.0)
    stamps = {frame.index: frame.stamp_ns for frame in source}
    assert list(stamps) == list(range(795))
    assert stamps[794] == 79_400_000_000
    assert source.skipped == 0
    again = next(iter(source))  # every iteration begins at the first frame
    assert again.index == 0
    assert again.image.shape == (576, 768, 3)
    assert np.ptp(again.image.astype(int), axis=2).max() > 50  # colours, not greys


def test_a_rate_given_replaces_the_assumed_and_the_stated(pictures: Path, shared: Path) -> None:
    assert [frame.stamp_ns for frame in open_source(pictures, rate=4)][:3] == [
        0,
        25 * 10**7,
        5 * 10**8,
    ]
    assert open_source(shared / "data" / "vtest.avi", rate=25).rate == 25
    for rate in (0, -1, float("nan")):
        with pytest.raises(SourceError, match="expected frames a second above 0"):
            open_source(pictures, rate=rate)


def test_stamps_are_rounded_each_for_itself() -> None:
    """No error adds up: frame 30,000 at 29.97 Hz."""
    assert stamp_of(30_000, 30_000 / 1001) == 1001 * 10**9


def test_images_come_in_natural_order(pictures: Path) -> None:
    assert greys(pictures) == [10 * number for number in range(1, 13)]


def test_names_that_are_equal_as_numbers_have_an_order_too(tmp_path: Path) -> None:
    for number, name in enumerate(["01.png", "1.png", "a²3.png", "b.png"]):
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), number, np.uint8))
    assert greys(tmp_path) == [0, 1, 2, 3]


def test_other_files_and_hidden_ones_are_no_images(pictures: Path) -> None:
    (pictures / "notes.txt").write_text("no image")
    (pictures / ".3.png").write_bytes(b"left by an editor")
    (pictures / "4.PNG").write_bytes((pictures / "4.png").read_bytes())
    assert len(greys(pictures)) == 13


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "folder"])
def test_a_broken_image_is_skipped_and_the_others_keep_their_places(
    pictures: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    (pictures / "3.png").unlink()
    broken = pictures / "3.jpg"
    if damage == "folder":
        broken.mkdir()
    else:
        damaged = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"no image"}
        broken.write_bytes(damaged[damage])
    source = open_source(pictures)
    assert source.length == 12
    with caplog.at_level(logging.WARNING):
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, *range(3, 12)]
    assert frames[2].stamp_ns == 300_000_000
    assert source.skipped == 1
    assert "3.jpg: skipped" in caplog.text
    list(source)
    assert source.skipped == 1  # of the latest iteration


def test_grey_and_deep_images_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((4, 6), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "2.tif"), np.full((4, 6), 77 * 256, np.uint16))
    cv2.imwrite(str(tmp_path / "3.png"), np.full((4, 6, 4), 77, np.uint8))
    for frame in open_source(tmp_path):
        assert frame.image.dtype == np.uint8
        assert np.array_equal(frame.image, np.full((4, 6, 3), 77))


def test_a_video_cut_short_says_what_is_missing(shared: Path, tmp_path: Path) -> None:
    content = (shared / "data" / "vtest.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 20])
    source = open_source(tmp_path / "cut.avi")
    frames = list(source)
    assert 10 < len(frames) < 100
    assert source.length is not None
    assert len(frames) + source.skipped == source.length


@pytest.mark.parametrize("content", [b"", b"no video", bytes(10_000)])
def test_an_unreadable_video_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(
        SourceError, match=r"film\.mp4: no video OpenCV can read; check the file or"
    ):
        open_source(path)


def test_what_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone: not found; expected a video, a folder of images"):
        open_source(tmp_path / "gone")
    with pytest.raises(SourceError, match=r"no image in this folder; expected files .*\.png"):
        open_source(tmp_path)


@pytest.mark.skipif(os.path.exists("/dev/video63"), reason="this machine has a camera 63")
def test_a_camera_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(SourceError, match="camera 63: cannot be opened; check the index"):
        open_source("63")


def test_clips_are_the_folders_and_videos_of_a_folder(ped2: Path) -> None:
    clips = open_clips(ped2 / "Train")
    assert [Path(clip.name).name for clip in clips] == [f"Train{i:03d}" for i in range(1, 17)]
    assert sum(clip.length or 0 for clip in clips) == 2550


def test_a_source_is_its_own_only_clip(pictures: Path) -> None:
    (clip,) = open_clips(pictures, rate=5)
    assert (clip.name, clip.rate) == (str(pictures), 5)


def test_what_is_no_clip_is_left_out(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pictures.parent / "README.txt").write_text("about the pictures")
    (pictures.parent / "empty").mkdir()
    (clip,) = open_clips(pictures.parent)
    assert clip.name == str(pictures)
    assert caplog.text.count("left out: ") == 2
    with pytest.raises(SourceError, match="holds no image, video or bag"):
        open_clips(pictures.parent / "empty")
