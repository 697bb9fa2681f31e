from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.config import WindowConfig
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.long_stay import beyond, long_stay
from tao_anomaly.structures import FeatureLayout, TrackFeatures
from tao_anomaly.windows import TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]
LAYOUT = FeatureLayout(appearance=2, kinematics=len(KINEMATICS))
SIZE = (100, 200)  # height, width
HEIGHT = 20.0  # of a person, in pixels
PACE = 25.0  # pixels a second: two heights in 1.6 s


def clip(
    make_features: MakeFeatures, places: Callable[[float], float], *, seconds: float, rate: float
) -> Iterator[TrackFeatures]:
    """One person at x = places(t), in pixels."""
    for step in range(round(seconds * rate) + 1):
        x = places(step / rate)
        vector = [1.0, 0.0, x / SIZE[1], 0.5, np.log(0.1), np.log(HEIGHT / SIZE[0]), 0, 0, 0]
        yield make_features(
            step / rate,
            {"0-1": [*vector, *(0.0,) * DIRECTIONS]},
            dim=LAYOUT.dim,
            boxes=[[x - 5, 50 - HEIGHT / 2, x + 5, 50 + HEIGHT / 2]],
            image_size=SIZE,
        )


def walks(t: float) -> float:
    return PACE * t


def stands(_t: float) -> float:
    return 70.0


def wanders(t: float) -> float:
    return 70 + 35 * np.sin(t)


def test_what_is_long_is_what_one_in_a_hundred_exceeds(make_features: MakeFeatures) -> None:
    standing = list(clip(make_features, stands, seconds=20, rate=10))
    assert long_stay([standing]) == pytest.approx(19.8)  # stays of 0, 0.1 ... 20.0 s
    walking = list(clip(make_features, walks, seconds=20, rate=10))
    # half of the observations are of the walker: 2 in 100 of the one who stands are longer
    assert long_stay([standing, walking]) == pytest.approx(19.6, abs=0.1)


def test_short_clips_make_no_stay_long(make_features: MakeFeatures) -> None:
    assert long_stay([list(clip(make_features, stands, seconds=2, rate=10))]) == 5
    assert long_stay([[make_features(0, {})]]) == long_stay([]) == 5


def test_beyond_by_hand() -> None:
    found = beyond(np.array([0, 8, 8.8, 16, 24], np.float32), 8.0)
    expected = np.array([0, 0, 0.1, 1, 2]) * np.log(100)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32
    assert beyond(np.array([1e6], np.float32), float("inf")).tolist() == [0]


def fitted(make_features: MakeFeatures, *, camera_motion: str = "static") -> Cues:
    normal = [list(clip(make_features, walks, seconds=8, rate=10))]
    return Cues.fit(normal, layout=LAYOUT, terms=("stay",), camera_motion=camera_motion)


@pytest.mark.parametrize(("rate", "hop"), [(10.0, 1), (10.0, 4), (4.0, 1)])
def test_who_loiters_is_found_and_who_hurries_is_none_the_less_usual(
    make_features: MakeFeatures, rate: float, hop: int
) -> None:
    cues = fitted(make_features)
    assert cues.long_stay == 5  # nobody stayed, and what is shorter is never long
    last = {}
    for name, places in {"stands": stands, "wanders": wanders, "walks": walks}.items():
        buffer = TrackBuffer(WindowConfig(hop=hop, min_observations=1))
        terms = [
            float(term)
            for image in clip(make_features, places, seconds=15, rate=rate)
            for term in cues.terms(buffer.update(image))[:, 0]
        ]
        assert min(terms) == 0  # at first, and always of who walks
        last[name] = max(terms)
    longest = 2 * np.log(100)  # 15 s are two more than the 5
    assert last["walks"] == 0
    assert last["stands"] == pytest.approx(longest, abs=0.4 * np.log(100) / 5 * hop)
    assert last["wanders"] == last["stands"]


def test_where_the_camera_moves_no_place_stays(make_features: MakeFeatures) -> None:
    cues = fitted(make_features, camera_motion="compensate")
    buffer = TrackBuffer(WindowConfig(hop=1))
    for image in clip(make_features, stands, seconds=15, rate=4):
        cut = buffer.update(image)
    assert cut.stays.tolist() == [15]
    assert cues.terms(cut).tolist() == [[0]]
    fixed = replace(cues, scale=fitted(make_features).scale)
    assert fixed.terms(cut)[0, 0] > 9
