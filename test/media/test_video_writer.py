from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.media.source import open_source
from tao_anomaly.media.video_writer import VideoWriter


def picture(value: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), (value, value // 2, 255 - value), np.uint8)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "film.mp4"
    with VideoWriter(path, rate=12.5) as video:
        for value in range(0, 200, 20):
            video.write(picture(value))
            assert not path.exists()
    source = open_source(path)
    assert (source.length, source.rate) == (10, 12.5)
    for frame in source:
        expected = picture(20 * frame.index)
        np.testing.assert_allclose(frame.image, expected, atol=12)
    assert list(path.parent.iterdir()) == [path]


def test_images_of_another_size_are_scaled_not_lost(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", rate=10) as video:
        for size in ((48, 64), (96, 128), (30, 30)):
            video.write(picture(100, size))
    frames = list(open_source(tmp_path / "film.mp4"))
    assert [frame.size for frame in frames] == [(48, 64)] * 3


def test_after_an_exception_nothing_is_left(tmp_path: Path) -> None:
    def fail() -> None:
        with VideoWriter(tmp_path / "film.mp4", rate=10) as video:
            video.write(picture(1))
            raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_film_without_images_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", rate=10):
        pass
    assert list(tmp_path.iterdir()) == []
