from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
    ImageArray,
)
from tao_anomaly.visualization.colours import STATE_BGR
from tao_anomaly.visualization.history import SceneHistory
from tao_anomaly.visualization.overlay import draw_overlay, object_label, threshold_share

MakeScores = Callable[..., AnomalyScores]
Draw = Callable[..., ImageArray]
BLACK = np.zeros((480, 640, 3), np.uint8)
NAMES = {0: "person"}


@pytest.fixture
def draw(make_scores: MakeScores) -> Draw:
    """Draw objects given as (box, state, score) over an image."""

    def over(
        image: ImageArray, *objects: tuple[Sequence[float], AnomalyState, float], **settings: object
    ) -> ImageArray:
        return draw_overlay(image, make_scores(*objects, **settings), NAMES)

    return over


def is_colour(image: ImageArray, state: AnomalyState) -> np.ndarray:
    """Where the colour of a state lies; lines are antialiased."""
    return np.abs(image.astype(int) - STATE_BGR[state]).max(axis=2) < 40


def is_letter(image: ImageArray) -> np.ndarray:
    return image.min(axis=2) > 170


@pytest.mark.parametrize("state", list(AnomalyState))
def test_a_box_has_the_colour_of_its_state(draw: Draw, state: AnomalyState) -> None:
    scored = state in (AnomalyState.NORMAL, AnomalyState.ANOMALOUS)
    drawn = draw(BLACK, ((100, 200, 300, 400), state, 3.0 if scored else np.nan))
    mine = is_colour(drawn, state)
    assert mine[400, 110:290].all()  # lower edge
    assert mine[210:390, 100].all()
    assert mine[210:390, 300].all()
    others = [is_colour(drawn, other) for other in AnomalyState if other != state]
    assert not any(other[150:].any() for other in others)
    assert not drawn[210:390, 110:290].any()  # the object itself stays visible


def test_colours_of_states_differ() -> None:
    assert len(set(STATE_BGR.values())) == len(AnomalyState) == len(STATE_BGR)


def test_the_image_is_not_drawn_on(draw: Draw) -> None:
    image = np.full((480, 640, 3), 7, np.uint8)
    image.flags.writeable = False
    drawn = draw(image, ((100, 200, 300, 400), AnomalyState.ANOMALOUS, 3.0))
    assert (image == 7).all()
    assert drawn.shape == image.shape
    assert not np.shares_memory(drawn, image)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((240, 360), (480, 720)),
        ((120, 160), (480, 640)),
        ((480, 640), (480, 640)),
        ((7, 9), (497, 639)),
    ],
)
def test_small_images_are_enlarged_by_a_whole_factor(
    draw: Draw, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert draw(np.zeros((*size, 3), np.uint8)).shape == (*expected, 3)


def test_boxes_are_enlarged_with_the_image(draw: Draw) -> None:
    small = np.zeros((240, 320, 3), np.uint8)
    drawn = draw(small, ((50, 100, 150, 200), AnomalyState.WARMUP, np.nan))
    mine = is_colour(drawn, AnomalyState.WARMUP)
    assert mine[400, 110:290].all()
    assert mine[210:390, 300].all()


def test_an_anomaly_is_labelled_and_drawn_over_normal_objects(draw: Draw) -> None:
    box = (100, 200, 300, 400)
    drawn = draw(BLACK, (box, AnomalyState.ANOMALOUS, 3.0), (box, AnomalyState.NORMAL, 0.0))
    assert is_colour(drawn, AnomalyState.ANOMALOUS)[400, 110:290].all()
    label = drawn[182:199, 100:300]
    assert is_colour(label, AnomalyState.ANOMALOUS).mean() > 0.5
    assert is_letter(label).sum() > 50


@pytest.mark.parametrize("box", [(600, 300, 640, 400), (-30, 0, 40, 60), (630, 470, 640, 480)])
def test_labels_lie_inside_the_image(draw: Draw, box: Sequence[float]) -> None:
    """A label cut off by the border would have fewer letters than the same one in the middle."""
    inside = draw(BLACK, ((100, 200, 140, 300), AnomalyState.ANOMALOUS, 3.0))
    drawn = draw(BLACK, (box, AnomalyState.ANOMALOUS, 3.0))
    letters = [is_letter(image[25:]).sum() for image in (inside, drawn)]
    if box[1] < 25:  # the banner lies there too
        letters = [is_letter(image).sum() for image in (inside, drawn)]
        assert letters[1] > 0.6 * letters[0]
    else:
        assert letters[1] == letters[0]


@pytest.mark.parametrize(("score", "length"), [(0.0, 0), (1.0, 100), (2.0, 200), (-5.0, 0)])
def test_a_normal_object_shows_its_share_of_the_threshold(
    draw: Draw, score: float, length: int
) -> None:
    drawn = draw(BLACK, ((100, 200, 300, 400), AnomalyState.NORMAL, score))
    bar = is_colour(drawn, AnomalyState.NORMAL)[197, 100:301]
    assert bar.sum() == pytest.approx(length, abs=1)


def test_no_objects_and_no_score_are_drawn_too(draw: Draw) -> None:
    for objects in ([], [((9, 9, 9, 9), AnomalyState.INVALID, np.nan)]):
        drawn = draw(BLACK, *objects)
        assert is_letter(drawn[:25]).sum() > 50  # the banner's
        assert not is_colour(drawn, AnomalyState.ANOMALOUS).any()


def test_an_anomaly_colours_the_banner(draw: Draw) -> None:
    drawn = draw(BLACK, ((100, 200, 300, 400), AnomalyState.ANOMALOUS, 3.0))
    assert is_colour(drawn[:20], AnomalyState.ANOMALOUS).any()


def test_what_is_written_of_an_object(make_scores: MakeScores) -> None:
    box = (1, 2, 3, 4)
    scores = make_scores((box, AnomalyState.ANOMALOUS, 3.14), (box, AnomalyState.NORMAL, 1.0))
    assert object_label(scores, 0, NAMES) == ["0 person 3.1", "3.1x usual speed"]
    assert object_label(scores, 1, {}) == ["1 0"]


@pytest.mark.parametrize(
    ("score", "threshold", "share"),
    [(1.0, 2.0, 0.5), (9.0, 2.0, 1.0), (-1.0, 2.0, 0.0), (np.nan, 2.0, 0.0), (1.0, -2.0, 0.0)],
)
def test_share_of_the_threshold(score: float, threshold: float, share: float) -> None:
    assert threshold_share(score, threshold) == share


def event(track: str, start: float, phase: EventPhase = EventPhase.START) -> AnomalyEvent:
    box = np.zeros(4, np.float32)
    start_ns = round(start * NANOSECONDS)
    return AnomalyEvent(phase, f"{track}/1", track, 0, start_ns, 0.0, 5.0, 2.0, box, "m")


def test_history_adds_trail_strip_and_banner(make_scores: MakeScores) -> None:
    history = SceneHistory()
    state = AnomalyState.ANOMALOUS
    for step in range(5):
        box = (100 + 40 * step, 200, 140 + 40 * step, 300)
        scores = make_scores((box, state, 1.0 if step < 2 else 3.0), seconds=step / 10)
        history.update(scores, [event("0-0", 0.2)] if step == 2 else [])
    plain = draw_overlay(BLACK, scores, NAMES)
    drawn = draw_overlay(BLACK, scores, NAMES, history)
    assert is_colour(drawn, state)[250, 125:255].all()  # centres from 120 to 280
    assert not is_colour(plain, state)[250, 125:255].any()
    assert not is_colour(drawn, state)[250, 90:115].any()
    strip, line = drawn[-44:], drawn[-44:][:, :600]  # the newest 0.4 of 10 s lie at the right
    assert is_colour(strip, state)[:, 620:].any()
    assert not is_colour(line, state).any()
    banner = is_colour(drawn, state)[20:36, 5:200]
    assert banner.mean() > 0.4
    assert is_colour(plain, state)[20:36, 5:200].sum() == 0


def test_the_strip_is_cut_where_nothing_was_scored(make_scores: MakeScores) -> None:
    history = SceneHistory()
    for step, score in enumerate([1.0, 1.0, np.nan, np.nan, 1.0, 1.0]):
        scores = make_scores(((9, 9, 30, 30), AnomalyState.NORMAL, score), seconds=2 * step)
        history.update(scores)
    drawn = draw_overlay(BLACK, scores, NAMES, history)[-44:]
    blue = (np.abs(drawn.astype(int) - (233, 180, 86)).max(axis=2) < 40).any(axis=0)
    assert blue[5:120].all()  # -10 s to -8 s
    assert not blue[140:500].any()
    assert blue[520:635].all()
