from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tao_anomaly.config import WindowConfig
from tao_anomaly.structures import NANOSECONDS, TrackFeatures, TrackWindows
from tao_anomaly.windows import FeatureMismatchError, TrackBuffer

MakeFeatures = Callable[..., TrackFeatures]


def counted(value: float) -> list[float]:
    return [value, 10 * value, -value]


def run(
    buffer: TrackBuffer, make_features: MakeFeatures, steps: int, *ids: str
) -> list[TrackWindows]:
    """Show the same objects in `steps` images of 10 Hz, with the number of the image as feature."""
    return [
        buffer.update(make_features(step / 10, dict.fromkeys(ids, counted(step))))
        for step in range(steps)
    ]


def due(windows: TrackWindows) -> list[str]:
    return [windows.tracks.ids[row] for row in windows.index]


def test_a_window_holds_the_latest_steps_oldest_first(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=4, hop=1, min_observations=2))
    images = run(buffer, make_features, 7, "0-1")
    assert [due(image) for image in images] == [[], *[["0-1"]] * 6]
    assert [image.observations.tolist() for image in images] == [[1], [2], [3], [4], [4], [4], [4]]
    short, full = images[2], images[6]
    assert short.features.tolist() == [[[0, 0, 0], counted(0), counted(1), counted(2)]]
    assert short.valid.tolist() == [[False, True, True, True]]
    np.testing.assert_allclose(short.times, [[0, -0.2, -0.1, 0]])
    assert full.features.tolist() == [[counted(step) for step in (3, 4, 5, 6)]]
    assert full.valid.all()
    np.testing.assert_allclose(full.times, [[-0.3, -0.2, -0.1, 0]], atol=1e-7)
    assert (full.length, full.features.dtype, full.valid.dtype) == (4, np.float32, np.bool_)


def test_all_that_identifies_the_image_is_handed_on(make_features: MakeFeatures) -> None:
    features = make_features(1.5, {"2-1": counted(1)}, epoch=2, image_size=(11, 22))
    windows = TrackBuffer(WindowConfig(min_observations=2)).update(features)
    assert windows.tracks is features.tracks
    assert (windows.stamp_ns, windows.epoch, windows.image_size, windows.feature_id) == (
        1_500_000_000,
        2,
        (11, 22),
        "synthetic",
    )
    assert windows.features.shape == (0, 16, 3)


def test_gaps_are_times_between_steps_not_steps(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=4, hop=1))
    run(buffer, make_features, 2, "0-1")
    for step in (2, 3, 4):
        hidden = buffer.update(make_features(step / 10, {}))
        assert len(hidden.tracks) == len(hidden.index) == 0
    back = buffer.update(make_features(0.5, {"0-1": counted(5)}))
    assert back.valid.tolist() == [[False, True, True, True]]
    np.testing.assert_allclose(back.times[0, 1:], [-0.5, -0.4, 0], atol=1e-7)


def test_times_stay_exact_on_a_wall_clock(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=2, hop=1))
    for step in range(2):
        stamp_ns = 1_760_000_000 * NANOSECONDS + step * 33_333_333
        image = make_features(0, {"0-1": counted(step)})
        windows = buffer.update(TrackFeatures(**{**vars(image), "stamp_ns": stamp_ns}))
    np.testing.assert_allclose(windows.times, [[-0.033333333, 0]], rtol=1e-6)


def test_windows_come_every_hop_once_there_are_enough_steps(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=16, hop=4, min_observations=5))
    images = run(buffer, make_features, 20, "0-8")
    assert [step for step, image in enumerate(images, 1) if len(image.index)] == [5, 8, 12, 16, 20]


def test_the_load_is_even_over_tracks(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=4, hop=4, min_observations=2))
    ids = [f"0-{n}" for n in range(1, 9)]
    images = run(buffer, make_features, 12, *ids)
    assert due(images[1]) == ids  # all reach the fewest steps at once
    assert [len(image.index) for image in images[4:]] == [2] * 8
    for start in (4, 8):
        together = [name for image in images[start : start + 4] for name in due(image)]
        assert sorted(together) == sorted(ids)


def test_any_word_may_be_an_id(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(hop=3))
    images = run(buffer, make_features, 12, "car", "ü-x")
    assert sum(len(image.index) for image in images) >= 6


def test_tracks_do_not_mix(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=3, hop=1))
    for step in range(3):
        objects = {"0-1": counted(step), "0-2": counted(100 + step)}
        order = reversed(objects.items()) if step % 2 else objects.items()
        windows = buffer.update(make_features(step / 10, dict(order)))
    values = dict(zip(due(windows), windows.features[:, :, 0].tolist(), strict=True))
    assert values == {"0-1": [0, 1, 2], "0-2": [100, 101, 102]}


def test_old_buffers_are_dropped(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(max_age=2.0, hop=1))
    run(buffer, make_features, 2, "0-1")
    buffer.update(make_features(2.1, {"0-2": counted(0)}))
    assert len(buffer) == 2  # 0-1 is exactly 2.0 s old
    buffer.update(make_features(2.2, {}))
    assert len(buffer) == 1
    back = buffer.update(make_features(2.3, {"0-1": counted(0)}))
    assert back.observations.tolist() == [1]


def test_a_step_after_a_gap_beyond_the_age_begins_anew(make_features: MakeFeatures) -> None:
    """Also where no other image came in between."""
    buffer = TrackBuffer(WindowConfig(max_age=2.0, hop=1, min_observations=2))
    run(buffer, make_features, 5, "0-1")
    back = buffer.update(make_features(5.0, {"0-1": counted(0)}))
    assert back.observations.tolist() == [1]
    assert len(back.index) == 0


def test_the_least_recently_seen_go_first(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(max_tracks=2, hop=1))
    run(buffer, make_features, 2, "0-1", "0-2")
    buffer.update(make_features(0.2, {"0-1": counted(2)}))
    buffer.update(make_features(0.3, {"0-3": counted(3)}))
    assert len(buffer) == 2
    windows = buffer.update(make_features(0.4, {"0-1": counted(4), "0-2": counted(4)}))
    assert windows.observations.tolist() == [4, 1]


def test_more_tracks_than_fit_are_no_error(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(max_tracks=2, hop=1, min_observations=1))
    for windows in run(buffer, make_features, 5, "0-1", "0-2", "0-3"):
        assert len(buffer) == 2
        assert len(windows.tracks) == 3
        assert sorted(due(windows)) == ["0-2", "0-3"]
        assert windows.observations[0] == 0


def test_a_new_epoch_drops_all(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(hop=1))
    run(buffer, make_features, 5, "0-1")
    windows = buffer.update(make_features(0.5, {"0-1": counted(5)}, epoch=1))
    assert windows.observations.tolist() == [1]
    assert len(buffer) == 1


def test_features_that_are_not_finite_are_left_out(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=4, hop=1))
    run(buffer, make_features, 3, "0-1", "0-2")
    for bad in (np.nan, np.inf, -np.inf):
        image = make_features(0.3, {"0-1": [bad, 0, 0], "0-2": counted(3)})
        windows = buffer.update(image)
        assert due(windows) == ["0-2"]
        assert windows.observations[0] == 3
    after = buffer.update(make_features(0.4, {"0-1": counted(4)}))
    assert after.features[0, :, 0].tolist() == [0, 1, 2, 4]


def test_features_of_two_ids_never_meet(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(hop=1))
    run(buffer, make_features, 2, "0-1")
    other = make_features(0.2, {"0-1": counted(2)}, feature_id="other")
    with pytest.raises(FeatureMismatchError, match="got features other, expected synthetic"):
        buffer.update(other)
    assert buffer.update(make_features(0.2, {"0-1": counted(2)})).observations.tolist() == [3]
    buffer.reset()
    assert buffer.update(other).observations.tolist() == [1]


def test_windows_are_copies(make_features: MakeFeatures) -> None:
    buffer = TrackBuffer(WindowConfig(length=3, hop=1))
    first = run(buffer, make_features, 3, "0-1")[-1]
    kept = first.features.copy()
    run(buffer, make_features, 3, "0-1")
    assert np.array_equal(first.features, kept)
