from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.config import TrackerConfig
from tao_anomaly.structures import NANOSECONDS, Detections, Tracks, TrackState
from tao_anomaly.tracking.byte_track import ByteTracker

Box = Sequence[float]


def found(*boxes: Box, scores: Sequence[float] | None = None) -> Detections:
    count = len(boxes)
    given_scores = np.full(count, 0.9) if scores is None else np.array(scores)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        given_scores.astype(np.float32),
        np.zeros(count, np.int64),
    )


def box(x: float, y: float = 100, width: float = 40, height: float = 80) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


class Stream:
    """A tracker fed at a rate."""

    def __init__(self, *, rate: float = 10, config: TrackerConfig | None = None) -> None:
        self.tracker = ByteTracker(config or TrackerConfig())
        self.rate = rate
        self.index = 0

    def show(self, *boxes: Box, scores: Sequence[float] | None = None) -> Tracks:
        stamp_ns = round(self.index * NANOSECONDS / self.rate)
        self.index += 1
        return self.tracker.update(found(*boxes, scores=scores), stamp_ns)

    def nothing(self, seconds: float) -> None:
        for _ in range(round(seconds * self.rate)):
            assert len(self.show()) == 0


def test_a_track_is_new_then_tracked_and_keeps_the_detections_box() -> None:
    stream = Stream()
    first = stream.show(box(50), box(200), scores=[0.9, 0.5])
    assert first.ids == ("0-1", "0-2")
    assert first.states.tolist() == [TrackState.NEW, TrackState.NEW]
    assert first.ages.tolist() == [0, 0]
    second = stream.show(box(202), box(51), scores=[0.6, 0.8])
    assert dict(zip(second.ids, second.boxes.tolist(), strict=True)) == {
        "0-1": list(box(51)),
        "0-2": list(box(202)),
    }
    assert set(second.states.tolist()) == {TrackState.TRACKED}
    assert second.ages.tolist() == [1, 1]
    np.testing.assert_allclose(sorted(second.scores), [0.6, 0.8])


def test_class_flicker_does_not_break_a_track() -> None:
    tracker = ByteTracker(TrackerConfig())
    ids = set()
    for index in range(6):
        one = found(box(50 + index))
        ids |= set(
            tracker.update(
                Detections(one.boxes, one.scores, np.array([index % 3])), index * 10**8
            ).ids
        )
    assert ids == {"0-1"}


def test_confidence_decides_what_begins_a_track() -> None:
    stream = Stream(config=TrackerConfig(high_confidence=0.25, new_track_confidence=0.3))
    assert len(stream.show(box(50), box(150), scores=[0.29, 0.1])) == 0
    assert stream.show(box(50), box(150), scores=[0.3, 0.1]).ids == ("0-1",)


def test_an_unconfirmed_track_is_dropped_and_its_id_not_used_again() -> None:
    stream = Stream()
    assert stream.show(box(50)).ids == ("0-1",)
    assert stream.show().ids == ()
    assert stream.show(box(50)).ids == ("0-2",)


def test_an_uncertain_object_is_confirmed_where_it_stays() -> None:
    """Otherwise each image would begin it anew; a shifted box confirms a sure one alone."""
    stream = Stream()
    for _ in range(5):
        assert stream.show(box(50), scores=[0.2]).ids == ("0-1",)
    for score, same in ((0.9, True), (0.2, False)):  # half a width away the overlap is 1/3
        stream = Stream()
        stream.show(box(50), scores=[score])
        assert (stream.show(box(70), scores=[score]).ids == ("0-1",)) is same


def test_the_second_round_keeps_a_track_whose_confidence_falls() -> None:
    stream = Stream()
    for _ in range(5):
        stream.show(box(50))
    for _ in range(20):  # far beyond the life of a lost track
        tracks = stream.show(box(50), scores=[0.06])
        assert tracks.ids == ("0-1",)
        assert tracks.scores[0] == np.float32(0.06)
    assert stream.show(box(50)).ids == ("0-1",)


def test_an_uncertain_box_does_not_revive_a_lost_track() -> None:
    stream = Stream()
    for _ in range(5):
        stream.show(box(50))
    stream.nothing(0.3)
    assert stream.show(box(50), scores=[0.1]).ids == ()
    assert stream.show(box(50), scores=[0.9]).ids == ("0-1",)


def test_a_stable_box_wins_over_a_shifted_one() -> None:
    stream = Stream()
    for _ in range(5):
        stream.show(box(50))
    tracks = stream.show(box(65), box(50))
    assert dict(zip(tracks.ids, tracks.boxes[:, 0].tolist(), strict=True)) == {
        "0-1": 30.0,
        "0-2": 45.0,
    }


def test_the_first_round_weighs_overlap_by_confidence() -> None:
    """Half a box away the overlap is 1/3: enough for a sure detection only."""
    for score, same in ((0.7, True), (0.5, False)):
        stream = Stream(config=TrackerConfig(match_iou=0.2))
        for _ in range(5):
            stream.show(box(50))
        assert (stream.show(box(70), scores=[score]).ids == ("0-1",)) is same


def test_a_pair_too_far_apart_does_not_displace_a_good_one() -> None:
    """The two bad pairs overlap more in sum (0.44 + 0.19) than the one good pair (0.51)."""
    stream = Stream(config=TrackerConfig(match_iou=0.2))
    for _ in range(10):
        stream.show(box(0), box(28.5), scores=[1.0, 1.0])
    tracks = stream.show(box(13), box(-27), scores=[1.0, 1.0])
    by_id = dict(zip(tracks.ids, tracks.boxes.tolist(), strict=True))
    assert by_id == {"0-1": list(box(13)), "0-3": list(box(-27))}


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_an_object_that_returns_after_one_second_keeps_its_id_after_two_it_does_not(
    rate: int,
) -> None:
    stream = Stream(rate=rate, config=TrackerConfig(lifetime=1.5))
    for _ in range(rate):
        assert stream.show(box(100)).ids == ("0-1",)
    stream.nothing(1.0)
    back = stream.show(box(100))
    assert back.ids == ("0-1",)
    assert back.ages[0] == 2 * rate
    stream.nothing(2.0)
    assert stream.show(box(100)).ids == ("0-2",)


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_a_moving_object_hidden_for_a_second_is_met_where_it_comes_out(rate: int) -> None:
    stream = Stream(rate=rate)
    speed = 60  # px/s, 1.5 widths
    for step in range(2 * rate):
        assert stream.show(box(50 + speed * step / rate)).ids == ("0-1",)
    stream.nothing(1.0)
    assert stream.show(box(50 + speed * 3)).ids == ("0-1",)


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_a_fast_object_keeps_its_id(rate: int) -> None:
    """It moves half its width between two images, at any rate."""
    stream = Stream(rate=rate)
    for step in range(3 * rate):
        assert stream.show(box(20 * step)).ids == ("0-1",)


def test_two_that_cross_keep_their_ids() -> None:
    stream = Stream()
    for step in range(30):
        left, right = box(100 + 10 * step, 100), box(400 - 10 * step, 160)
        tracks = stream.show(left, right)
        by_id = dict(zip(tracks.ids, tracks.boxes.tolist(), strict=True))
        assert by_id == {"0-1": list(left), "0-2": list(right)}


def test_a_gap_between_images_counts_as_time() -> None:
    tracker = ByteTracker(TrackerConfig(lifetime=1.5))
    for index in range(5):
        tracker.update(found(box(50)), index * 10**8)
    assert tracker.update(found(), 4 * 10**8 + round(1.6e9)).ids == ()
    assert tracker.update(found(box(50)), 4 * 10**8 + round(1.7e9)).ids == ("0-2",)


def test_a_reset_begins_the_ids_of_another_epoch() -> None:
    stream = Stream()
    stream.show(box(50))
    stream.tracker.reset(3)
    assert stream.show(box(50), box(200)).ids == ("3-1", "3-2")


def test_two_trackers_do_not_disturb_each_other() -> None:
    alone, first, second = Stream(), Stream(), Stream()
    for step in range(10):
        shown = [box(50 + 5 * step), *([box(300)] if step % 3 == 0 else [])]
        wanted = alone.show(*shown)
        got = first.show(*shown)
        second.show(*(box(40 * i) for i in range(step)))
        assert got.ids == wanted.ids
        assert np.array_equal(got.boxes, wanted.boxes)


def test_nothing_ever_seen_is_no_error() -> None:
    tracks = Stream().show()
    assert tracks.ids == ()
    assert tracks.boxes.shape == (0, 4)


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 19), max_size=6, unique=True), min_size=2, max_size=40))
def test_ids_are_unique_in_an_image_and_never_come_back_after_they_are_gone(
    images: list[list[int]],
) -> None:
    """Objects stand in 20 places far apart and blink at random."""
    stream = Stream(config=TrackerConfig(lifetime=0.35))
    last_seen: dict[str, tuple[int, int]] = {}
    for index, places in enumerate(images):
        tracks = stream.show(*(box(100 * place) for place in places))
        assert len(set(tracks.ids)) == len(tracks) == len(places)
        for track_id, shown in zip(tracks.ids, tracks.boxes, strict=True):
            place = round((float(shown[0]) + 20) / 100)
            before, where = last_seen.get(track_id, (index, place))
            assert where == place
            assert index - before <= 4  # 0.35 s at 10 Hz, and the image that meets it again
            last_seen[track_id] = index, place
