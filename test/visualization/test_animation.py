from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tao_anomaly.media.video_writer import VideoWriter
from tao_anomaly.visualization.animation import best_part, write_animation


def test_the_best_part_shows_most_different_anomalies_and_those_longest() -> None:
    shown = np.zeros((12, 3), np.bool_)
    shown[0:4, 0] = True  # one for long
    shown[6:8, 1] = True  # two at once, of which
    shown[7:11, 2] = True  # one goes on
    assert best_part(shown, 4) == (6, 10)
    assert best_part(shown, 100) == (0, 12)
    assert best_part(np.zeros((5, 0), np.bool_), 3) == (0, 3)


def test_an_animation_has_the_pace_of_the_video(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", rate=20) as video:
        for value in range(30):
            video.write(np.full((90, 160, 3), 8 * value, np.uint8))
    write_animation(tmp_path / "v.mp4", tmp_path / "a.webp", tmp_path / "p.jpg", [])
    read, animation = cv2.imreadanimation(str(tmp_path / "a.webp"))
    assert read
    assert len(animation.frames) == 15
    assert set(animation.durations.tolist()) == {100}
    assert animation.frames[0].shape[1] == 560
    assert cv2.imread(str(tmp_path / "p.jpg")).shape == (90, 160, 3)
