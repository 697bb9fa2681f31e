from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_anomaly.config import WindowConfig
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.local_velocity import LocalVelocities, told
from tao_anomaly.structures import FeatureLayout, TrackFeatures
from tao_anomaly.windows import TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]
LAYOUT = FeatureLayout(appearance=2, kinematics=len(KINEMATICS))
HEIGHT = 0.1  # of a person, in image heights
PACE = 0.1  # image heights a second: one person height
NEAR, FAR = 0.8, 0.4  # y of two lanes
RATE = 10.0


def moving(y: float, velocity: float, *, x: float = 0.5) -> list[float]:
    """A feature vector of a person; x and y are shares of the image's sides."""
    box = [x, y, np.log(HEIGHT / 2), np.log(HEIGHT)]
    return [1.0, 0.0, *box, velocity, 0.0, 0.0, *(0.0,) * DIRECTIONS]


def lanes(
    make_features: MakeFeatures, *, rate: float = RATE, size: tuple[int, int] = (100, 200)
) -> list[TrackFeatures]:
    """Twenty seconds of one who goes right on the near lane and one who goes left on the far one.

    Both cross the image, two image heights wide, and begin anew as others.
    """
    width = size[1] / size[0]
    images = []
    for step in range(int(20 * rate)):
        crossed, share = divmod(PACE * step / rate / width + 0.5, 1)
        objects = {
            f"0-{2 * crossed:.0f}": moving(NEAR, PACE, x=share),
            f"0-{2 * crossed + 1:.0f}": moving(FAR, -PACE, x=1 - share),
        }
        person = HEIGHT * size[0]
        boxes = [
            [0, y * size[0] - person / 2, person, y * size[0] + person / 2] for y in (0.8, 0.4)
        ]
        images.append(
            make_features(step / rate, objects, dim=LAYOUT.dim, boxes=boxes, image_size=size)
        )
    return images


def scores(
    make_features: MakeFeatures,
    cues: Cues,
    *vectors: list[float],
    rate: float = RATE,
    size: tuple[int, int] = (100, 200),
) -> list[float]:
    """The cue of objects that have been seen for two seconds."""
    buffer = TrackBuffer(WindowConfig(length=16, hop=1, min_observations=1))
    objects = {f"9-{i}": vector for i, vector in enumerate(vectors)}
    for step in range(int(2 * rate) + 1):
        cut = buffer.update(make_features(step / rate, objects, dim=LAYOUT.dim, image_size=size))
    return [float(score) for score in cues.terms(cut)[:, 0]]


def fitted(clip: list[TrackFeatures], **settings: str) -> Cues:
    return Cues.fit([clip], layout=LAYOUT, terms=("local_velocity",), **settings)


def test_who_goes_against_the_lane_scores_twice_its_pace(make_features: MakeFeatures) -> None:
    cues = fitted(lanes(make_features))
    right, against, standing, far, far_against = scores(
        make_features,
        cues,
        moving(NEAR, PACE),
        moving(NEAR, -PACE),
        moving(NEAR, 0.0),
        moving(FAR, -PACE),
        moving(FAR, PACE),
    )
    assert right < 0.01 > far
    assert against == pytest.approx(2, abs=0.03)  # person heights a second from all others there
    assert far_against == pytest.approx(against, abs=0.05)
    assert standing == 0  # it has no velocity to compare: how long it stays is another cue


def test_a_place_where_nobody_was_seen_tells_little(make_features: MakeFeatures) -> None:
    cues = fitted(lanes(make_features))
    against, beyond = scores(make_features, cues, moving(NEAR, -PACE), moving(NEAR + 1, -PACE))
    assert beyond < against / 10  # ten person heights below the lane


@pytest.mark.parametrize(("rate", "size"), [(25.0, (100, 200)), (5.0, (360, 720))])
def test_frame_rate_and_image_size_change_nothing(
    make_features: MakeFeatures, rate: float, size: tuple[int, int]
) -> None:
    walkers = moving(NEAR, PACE), moving(NEAR, -PACE), moving(NEAR, 3 * PACE)
    expected = scores(make_features, fitted(lanes(make_features)), *walkers)
    cues = fitted(lanes(make_features, rate=rate, size=size))
    found = scores(make_features, cues, *walkers, rate=rate, size=size)
    assert found == pytest.approx(expected, abs=0.03)  # belief depends a little on the rate


def test_a_moving_camera_has_no_places(make_features: MakeFeatures) -> None:
    cues = fitted(lanes(make_features), camera_motion="compensate")
    assert len(cues.local.places) == 0
    assert scores(make_features, cues, moving(NEAR, -PACE)) == [0]


def test_what_was_just_seen_has_no_velocity_to_remember(make_features: MakeFeatures) -> None:
    objects = [{"0-1": [1.0]}, {"0-1": [1.0], "0-2": [1.0]}, {}, {"0-2": [1.0], "0-1": [1.0]}]
    clip = [make_features(i * 0.3, seen, dim=1) for i, seen in enumerate(objects)]
    assert told(clip).tolist() == [False, False, False, True, True]  # at 0.6 s and 0.9 s


def test_the_distance_by_hand() -> None:
    places = np.tile(np.array([[0.5, 0.5]], np.float32), (6, 1))
    velocities = np.array([[1, 0]] * 4 + [[1, 1], [9, 9]], np.float32)
    local = LocalVelocities(places, velocities)
    person = np.array([0.1, 0.1, 0.1], np.float32)
    asked = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.7]], np.float32)
    found = local.distance(asked, np.array([[1, 0], [-1, 0], [1, 0]], np.float32), person)
    # the mean of the nearest five: distances 0, 0, 0, 0, 1 and 2, 2, 2, 2, sqrt(5)
    alike, against = 0.2, (8 + np.sqrt(5)) / 5
    # two person heights away all counts by half
    np.testing.assert_allclose(found, [alike, against, alike / 2], rtol=1e-5)


@given(st.floats(0.1, 10), st.integers(0, 5), st.integers(1, 80))
def test_a_view_from_farther_away_changes_nothing(scale: float, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    places, asked = random.random((count, 2)), random.random((3, 2))
    velocities, own = random.normal(size=(count, 2)), random.normal(size=(3, 2))
    person = random.uniform(0.05, 0.2, 3)
    near = LocalVelocities(places, velocities).distance(asked, own, person)
    far = LocalVelocities(places * scale, velocities).distance(asked * scale, own, person * scale)
    np.testing.assert_allclose(near, far, rtol=1e-4)


def test_nothing_seen_makes_nothing_unusual() -> None:
    some = np.ones((2, 2), np.float32)
    assert LocalVelocities.none().distance(some, some, some[0]).tolist() == [0, 0]
    one = LocalVelocities(some[:1], some[:1])
    assert one.distance(some[:0], some[:0], some[0, :0]).shape == (0,)
