from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.structures import NANOSECONDS
from tao_anomaly.tracking.background import Background

RATE = 10


def shares(background: Background, levels: list[int]) -> list[float]:
    """Show a wall whose left quarter has these grey levels; return the share of it that moves."""
    found = []
    for index, level in enumerate(levels):
        image = np.full((40, 40), 100, np.uint8)
        image[:, :10] = level
        moving = background.moving(image, index * NANOSECONDS // RATE)
        assert not moving[:, 10:].any()
        assert set(np.unique(moving)) <= {0, 255}
        found.append(np.count_nonzero(moving[:, :10]) / moving[:, :10].size)
    return found


def test_what_differs_from_all_that_was_seen_moves() -> None:
    assert shares(Background(), [100, 100, 100, 200, 100]) == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(("eager", "images"), [(True, 3), (False, 22)])
def test_what_stood_in_the_first_image_is_soon_forgotten_by_an_eager_one(
    eager: bool, images: int
) -> None:
    # With a weight of the first image that falls by a 200th an image, the wall behind what left
    # has a tenth after 20; eagerly it has a half after two images.
    found = shares(Background(eager=eager), [200] + [100] * 29)
    assert found[0] == 0
    assert found[1:].count(1.0) == pytest.approx(images - 2, abs=1)
    assert found[images:] == [0] * (30 - images)


def test_a_lower_share_keeps_what_is_seen_less_often_moving() -> None:
    # 200 is seen in every fourth image, a quarter of the time.
    levels = [100, 100, 100, 200] * 10
    assert shares(Background(share=0.6, eager=True), levels)[3::4] == [1] * 10
    assert shares(Background(share=0.9, eager=True), levels)[3::4][1:] == [0] * 9


def test_nothing_moves_where_nearly_everything_changed() -> None:
    background = Background()
    for index in range(5):
        background.moving(np.full((40, 40), 100, np.uint8), index * NANOSECONDS // RATE)
    half = np.full((40, 40), 100, np.uint8)
    half[:, :20] = 200
    assert np.count_nonzero(background.moving(half, 5 * NANOSECONDS // RATE)) == 800
    assert not background.moving(np.full((40, 40), 200, np.uint8), 6 * NANOSECONDS // RATE).any()
