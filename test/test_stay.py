"""How long objects stay where they are, by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_anomaly.config import WindowConfig
from tao_anomaly.structures import NANOSECONDS, TrackFeatures
from tao_anomaly.windows import Stay, TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]
HEIGHT = 10.0


def box(x: float, y: float = 50.0, height: float = HEIGHT) -> list[float]:
    """A box half as wide as tall around x, y."""
    return [x - height / 4, y - height / 2, x + height / 4, y + height / 2]


def stays(
    make_features: MakeFeatures, places: Iterable[float], **settings: Any
) -> list[float | None]:
    """The stay of one object at each of the x, an image a second; None where no window was due."""
    config = {"length": 4, "hop": 1, "min_observations": 1, "max_age": 3.0} | settings
    buffer = TrackBuffer(WindowConfig(**config))
    found: list[float | None] = []
    for second, x in enumerate(places):
        objects, boxes = ({"0-1": [0.0] * 3}, [box(x)]) if np.isfinite(x) else ({}, None)
        cut = buffer.update(make_features(second, objects, boxes=boxes))
        assert (cut.stays.shape, cut.stays.dtype) == (cut.index.shape, np.float32)
        found.append(float(cut.stays[0]) if len(cut.stays) else None)
    return found


def test_who_stands_stays_all_the_time(make_features: MakeFeatures) -> None:
    assert stays(make_features, [30] * 5) == [0, 1, 2, 3, 4]


def test_who_walks_stays_as_long_as_two_heights_take(make_features: MakeFeatures) -> None:
    # 8 pixels a second: 16 are within two heights of 10, 24 are not, and the count begins anew
    assert stays(make_features, range(0, 64, 8)) == [0, 1, 2, 0, 1, 2, 0, 1]


def test_who_paces_within_two_heights_stays(make_features: MakeFeatures) -> None:
    assert stays(make_features, [30, 50, 30, 10, 30, 50]) == [0, 1, 2, 3, 4, 5]  # 20 and no farther
    # From one end to the other it is too far: what counts is where the stay began.
    assert stays(make_features, [10, 31, 10, 31]) == [0, 0, 0, 0]


def test_an_object_not_seen_for_a_while_has_stayed(make_features: MakeFeatures) -> None:
    gone = float("nan")
    assert stays(make_features, [30, gone, gone, 31, 32]) == [0, None, None, 3, 4]
    assert stays(make_features, [30, gone, gone, 80]) == [0, None, None, 0]
    # Beyond the age of a buffer nobody knows it any more.
    assert stays(make_features, [30, gone, gone, gone, 30], max_age=2.0)[-1] == 0


def test_every_observation_counts_whatever_the_hop(make_features: MakeFeatures) -> None:
    away_and_back = [30, 30, 80, 30, 30, 30, 30, 30]
    every = stays(make_features, away_and_back)
    assert every == [0, 1, 0, 0, 1, 2, 3, 4]
    seldom = stays(make_features, away_and_back, hop=3, min_observations=2)
    assert seldom == [None, 1, None, None, 1, None, None, 4]  # counts from 30, not from the image 2


def test_a_new_epoch_ends_a_stay(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(hop=1, min_observations=1))
    found = [
        float(buffer.update(make_features(t, {"0-1": [0.0] * 3}, epoch=epoch)).stays[0])
        for t, epoch in enumerate((0, 0, 0, 1, 1))
    ]
    assert found == [0, 1, 2, 0, 1]


def test_stays_are_those_of_the_windows_objects(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(hop=2, min_observations=1))
    for t in range(5):
        objects = {"0-1": [0.0] * 3, "0-2": [0.0] * 3, "0-4": [0.0] * 3}
        boxes = [box(30), box(30 * t), box(50)]
        if t < 2:  # the last came later
            del objects["0-4"], boxes[2]
        cut = buffer.update(make_features(t, objects, boxes=boxes))
    got = dict(zip([cut.tracks.ids[row] for row in cut.index], cut.stays.tolist(), strict=True))
    assert got == {"0-1": 4}  # the fifth observation and the phase 1: its turn
    cut = buffer.update(make_features(5, objects, boxes=boxes))
    got = dict(zip([cut.tracks.ids[row] for row in cut.index], cut.stays.tolist(), strict=True))
    assert got == {"0-2": 1, "0-4": 3}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_place_that_is_none_is_no_stay(bad: float) -> None:
    stay = Stay()
    found = []
    for second, x in enumerate([0.0, bad, bad, 0.0, 1.0]):
        stay.update(second * NANOSECONDS, np.array(box(x), np.float32))
        found.append(stay.seconds)
    assert found == [0, 0, 0, 0, 1]


@given(
    st.lists(st.integers(-30, 30), min_size=1, max_size=30),
    st.sampled_from([0.25, 0.5, 2.0, 8.0]),
    st.integers(-512, 512),
)
def test_neither_the_size_of_the_image_nor_the_place_in_it_counts(
    steps: list[int], scale: float, shift: int
) -> None:
    one, other = Stay(), Stay()
    for second, x in enumerate(np.cumsum(steps)):
        one.update(second * NANOSECONDS, np.array(box(float(x)), np.float32))
        seen = np.array(box(float(x)), np.float32) * np.float32(scale) + np.float32(shift)
        other.update(second * NANOSECONDS, seen)
        assert other.seconds == one.seconds <= second
