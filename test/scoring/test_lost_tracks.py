from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.scoring.lost_tracks import LostTracks
from tao_anomaly.structures import MOVING_OBJECT, NANOSECONDS, Tracks, TrackState


def image(*objects: tuple[str, float, float], height: float = 40.0, kind: int = 0) -> Tracks:
    """Return objects of a width of 20 pixels by id and centre."""
    boxes = [[x - 10, y - height / 2, x + 10, y + height / 2] for _, x, y in objects]
    count = len(objects)
    return Tracks(
        ids=tuple(name for name, _, _ in objects),
        boxes=np.array(boxes, np.float32).reshape(count, 4),
        scores=np.full(count, 0.9, np.float32),
        class_ids=np.full(count, kind, np.int64),
        ages=np.zeros(count, np.int64),
        states=np.full(count, int(TrackState.TRACKED), np.int64),
    )


class Walk:
    """Lost tracks fed at 10 Hz."""

    def __init__(self, within: float = 2.0) -> None:
        self.lost = LostTracks(within=within)
        self.step = 0

    def show(self, tracks: Tracks) -> list[str | None]:
        """Return who is expected where the objects of the next image are, then take it in."""
        stamp_ns = self.step * NANOSECONDS // 10
        found = self.lost.expected_at(tracks, list(range(len(tracks))), stamp_ns)
        self.lost.update(tracks, stamp_ns)
        self.step += 1
        return found

    def wait(self, images: int) -> None:
        """Show empty images."""
        for _ in range(images):
            self.show(image())


def test_the_lost_one_is_expected_where_it_was_going() -> None:
    walk = Walk()
    for step in range(6):  # 20 pixels an image
        walk.show(image(("a", 100.0 + 20 * step, 100.0)))
    walk.wait(3)
    # after four images it is at 280, 40 pixels are its height
    assert walk.show(image(("b", 280.0, 100.0), ("c", 319.0, 100.0), ("d", 321.0, 100.0))) == [
        "a",
        "a",
        None,
    ]


def test_who_was_seen_too_shortly_is_expected_where_it_was() -> None:
    walk = Walk()
    for step in range(2):
        walk.show(image(("a", 100.0 + 20 * step, 100.0)))
    walk.wait(3)
    assert walk.show(image(("b", 120.0, 100.0), ("c", 200.0, 100.0))) == ["a", None]


def test_the_nearest_is_taken_and_nobody_who_is_there() -> None:
    walk = Walk()
    walk.show(image(("a", 100.0, 100.0), ("b", 120.0, 100.0), ("c", 111.0, 100.0)))
    assert walk.show(image(("c", 111.0, 100.0), ("d", 112.0, 100.0))) == ["b", "b"]
    assert walk.show(image(("e", 104.0, 100.0))) == ["a"]


def test_the_larger_height_counts() -> None:
    walk = Walk()
    walk.show(image(("a", 100.0, 100.0), height=80.0))
    assert walk.show(image(("b", 170.0, 100.0))) == ["a"]


def test_it_is_remembered_for_a_while() -> None:
    for within, expected in ((0.5, "a"), (0.4, None), (0.0, None)):
        walk = Walk(within)
        walk.show(image(("a", 100.0, 100.0)))
        walk.wait(4)
        assert walk.show(image(("b", 100.0, 100.0))) == [expected]


def test_what_merely_moves_takes_nothing_over_from_an_object() -> None:
    walk = Walk()
    walk.show(image(("a", 100.0, 100.0)))
    assert walk.show(image(("b", 100.0, 100.0), kind=MOVING_OBJECT)) == [None]
    walk.wait(1)
    assert walk.show(image(("c", 100.0, 100.0), kind=MOVING_OBJECT)) == ["b"]


def test_a_box_that_is_none_hides_no_other() -> None:
    walk = Walk()
    walk.show(image(("a", float("nan"), 100.0), ("b", 100.0, 100.0)))
    assert walk.show(image(("c", 100.0, 100.0), ("d", float("nan"), 100.0))) == ["b", None]


def test_a_reset_forgets_all() -> None:
    walk = Walk()
    walk.show(image(("a", 100.0, 100.0)))
    walk.lost.reset()
    assert walk.show(image(("b", 100.0, 100.0))) == [None]


places = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@settings(max_examples=50)
@given(st.lists(st.lists(places, max_size=4), min_size=1, max_size=8))
def test_who_is_expected_was_seen_and_is_not_there(images: list[list[tuple[float, float]]]) -> None:
    walk = Walk(within=0.3)
    seen: dict[str, int] = {}
    for step, centres in enumerate(images):
        # ids of an object change every other image
        shown = image(*((f"{row}-{step // 2}", x, y) for row, (x, y) in enumerate(centres)))
        for lost in walk.show(shown):
            assert lost is None or (lost not in shown.ids and step - seen[lost] <= 3)
        seen |= dict.fromkeys(shown.ids, step)
