from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.scoring.belief import Motion, NormalMotion, belief, jitters, supports

STEPS = 8


def motion(
    places: np.ndarray,
    speed: float,
    *,
    seen: int = STEPS,
    step: float = 0.1,
    flow: np.ndarray | None = None,
) -> Motion:
    """One object that moves along x, of whose steps the latest are `seen`."""
    times = (np.arange(STEPS) - STEPS + 1) * step
    return Motion(
        times=times[None].astype(np.float32),
        valid=np.arange(STEPS)[None] >= STEPS - seen,
        places=places,
        velocity=np.array([[speed, 0.0]], np.float32),
        flow=np.zeros((1, STEPS, DIRECTIONS), np.float32) if flow is None else flow,
    )


def path(*, speed: float, zigzag: float = 0.0, step: float = 0.1) -> np.ndarray:
    """Places ``(1, STEPS, 2)`` along x, every other one off by `zigzag` in y."""
    x = speed * step * np.arange(STEPS)
    return np.stack([x, zigzag * (np.arange(STEPS) % 2)], axis=1)[None].astype(np.float32)


def flowing(*, eighth: int, speed: float) -> np.ndarray:
    """Flow ``(1, STEPS, DIRECTIONS)`` into one direction."""
    flow = np.zeros((1, STEPS, DIRECTIONS), np.float32)
    flow[..., eighth] = speed
    return flow


def of(places: np.ndarray, speed: float, *, seen: int = STEPS, jitter: float = 0.001) -> float:
    found = belief(motion(places, speed, seen=seen), NormalMotion(jitter))
    assert found.dtype == np.float32
    return float(found[0])


def test_by_hand() -> None:
    # 8 steps of 0.1 s scatter by 0.42 s^2; a straight path leaves the usual jitter, 2 parts of 8
    assert of(path(speed=1.0), 1.0) == pytest.approx(1 / (1 + 9 * 0.001 / 4 / 0.42), rel=1e-4)


def test_a_box_that_jumps_about_is_believed_less() -> None:
    found = [of(path(speed=1.0, zigzag=z), 1.0) for z in (0, 0.1, 0.3, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.97
    assert found[-1] < 0.2


def test_more_speed_and_more_observations_are_believed_more() -> None:
    assert of(path(speed=0.1), 0.1) < of(path(speed=0.5), 0.5) < of(path(speed=2.0), 2.0)
    by_count = [of(path(speed=0.5), 0.5, seen=seen) for seen in range(1, STEPS + 1)]
    assert by_count[0] == 0
    assert by_count == sorted(by_count)


def test_who_stands_is_not_believed_to_move_and_nothing_divides_by_zero() -> None:
    assert of(path(speed=0.0), 0.0) == 0
    assert of(path(speed=0.0), 0.0, jitter=0.0) == 0
    assert of(path(speed=1.0), 1.0, jitter=0.0) == pytest.approx(1, abs=1e-3)


def test_steps_older_than_the_velocity_tell_nothing() -> None:
    """With 0.25 s a step five are within the second that a velocity is fitted on."""
    early = path(speed=1.0, step=0.25)
    early[0, :3, 1] = 5.0
    found = [
        belief(motion(places, 1.0, step=0.25), NormalMotion(0.001))
        for places in (early, path(speed=1.0, step=0.25))
    ]
    assert np.array_equal(*found)


def test_jitter_is_the_variance_about_a_straight_path() -> None:
    assert jitters(motion(path(speed=1.0), 1.0, seen=3)).shape == (0,)  # too few to tell
    np.testing.assert_allclose(jitters(motion(path(speed=1.0), 1.0)), [0], atol=1e-9)
    # a zigzag of 0.2: 8 * 0.1^2, less what a line explains of it, over 6
    y = np.arange(8) % 2 * 0.2
    expected = np.square(y - np.polyval(np.polyfit(np.arange(8), y, 1), np.arange(8))).sum() / 6
    found = jitters(motion(path(speed=1.0, zigzag=0.2), 1.0))
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


@pytest.mark.parametrize(
    ("eighth", "share"), [(0, 0.25), (1, 0.25 * np.sqrt(0.5)), (2, 0), (4, 0), (7, 0.25 * 0.5**0.5)]
)
def test_support_is_the_flow_along_the_velocity(eighth: int, share: float) -> None:
    moved = motion(path(speed=2.0), 2.0, flow=flowing(eighth=eighth, speed=0.5))
    np.testing.assert_allclose(supports(moved), [share], atol=1e-6)
    alone = belief(moved, NormalMotion())[0]
    assert belief(moved, NormalMotion(support=0.2))[0] == pytest.approx(min(share / 0.2, 1) * alone)
    assert belief(moved, NormalMotion(support=0.5))[0] == pytest.approx(share / 0.5 * alone)


def test_steps_without_a_flow_tell_nothing() -> None:
    flow = flowing(eighth=0, speed=0.5)
    flow[:, -3:] = 0  # the camera's stream began anew
    np.testing.assert_allclose(supports(motion(path(speed=1.0), 1.0, flow=flow)), [0.5])
    np.testing.assert_allclose(supports(motion(path(speed=1.0), 1.0)), [1])
    np.testing.assert_allclose(supports(motion(path(speed=0.0), 0.0, flow=flow)), [1])


def test_normal_motion_is_what_nearly_all_that_move_show() -> None:
    shares = np.linspace(0.2, 0.6, 101)
    walks = [motion(path(speed=1), 1, flow=flowing(eighth=0, speed=share)) for share in shares]
    stands = motion(path(speed=0), 0, flow=flowing(eighth=0, speed=0.01))
    short = motion(path(speed=1), 1, seen=3, flow=flowing(eighth=0, speed=0.01))
    found = NormalMotion.fit([*walks, stands, short])
    assert found.support == pytest.approx(shares[5], rel=1e-5)
    assert found.jitter == pytest.approx(0, abs=1e-9)
    assert NormalMotion.fit([]) == NormalMotion()
    assert NormalMotion.fit([motion(path(speed=1), 1)]).support == 0  # no flow is known


def test_a_slow_camera_tells_too() -> None:
    """At 4 Hz five observations are within the second that a velocity is fitted on."""
    moved = motion(path(speed=1, step=0.25), 1, step=0.25, flow=flowing(eighth=0, speed=0.3))
    assert NormalMotion.fit([moved]).support == pytest.approx(0.3)


def test_one_observation_is_no_motion_and_no_overflow() -> None:
    with np.errstate(all="raise"):
        assert of(path(speed=1.0), 1.0, seen=1, jitter=1.0) == 0
