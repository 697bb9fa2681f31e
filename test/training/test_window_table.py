from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tao_anomaly.config import WindowConfig
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.scoring.fitting import windows_of
from tao_anomaly.structures import FeatureLayout, TrackFeatures
from training.window_table import WindowTable, build_table

WINDOWS = WindowConfig(length=6, hop=3)


@pytest.fixture(scope="module")
def layout(clips: Mapping[str, list[TrackFeatures]]) -> FeatureLayout:
    return FeatureLayout(appearance=12, kinematics=len(KINEMATICS))


@pytest.fixture(scope="module")
def two_clips(clips: Mapping[str, list[TrackFeatures]]) -> list[list[TrackFeatures]]:
    """Two clips with what real ones have: tracks that end, pause, and a broken observation."""
    first, second = (list(clips[name]) for name in sorted(clips)[:2])
    for i in range(20, 25):  # one track pauses, one ends
        first[i] = without(first[i], {0, 3})
    for i in range(25, 40):
        first[i] = without(first[i], {3})
    broken = second[10].features.copy()
    broken[2, 0] = np.nan
    second[10] = replace(second[10], features=broken)
    return [first, second]


def without(image: TrackFeatures, rows: set[int]) -> TrackFeatures:
    keep = np.array([i for i in range(len(image.tracks)) if i not in rows], np.int64)
    return replace(image, tracks=image.tracks.select(keep), features=image.features[keep])


@pytest.fixture(scope="module")
def table(two_clips: list[list[TrackFeatures]], layout: FeatureLayout) -> WindowTable:
    return build_table(two_clips, layout=layout, windows=WINDOWS, steps_ahead=2)


def test_windows_are_those_of_the_track_buffer(
    table: WindowTable, two_clips: list[list[TrackFeatures]]
) -> None:
    cut = [w for clip in two_clips for w in windows_of(clip, WINDOWS)]
    expected = np.concatenate([w.features for w in cut])
    features, times, valid, aspect = table.arrays(np.arange(len(table)))
    assert len(table) == len(expected) > 50
    np.testing.assert_allclose(features[..., :12], expected[..., :12], rtol=1e-3)  # float16
    np.testing.assert_array_equal(features[..., 12:], expected[..., 12:])
    np.testing.assert_array_equal(times, np.concatenate([w.times for w in cut]))
    np.testing.assert_array_equal(valid, np.concatenate([w.valid for w in cut]))
    assert set(aspect.tolist()) == {1.5}


def test_tracks_of_two_clips_are_never_one(
    table: WindowTable, two_clips: list[list[TrackFeatures]]
) -> None:
    owners = [
        (number, w.tracks.ids[i])
        for number, clip in enumerate(two_clips)
        for w in windows_of(clip, WINDOWS)
        for i in w.index
    ]
    pairs = set(zip(table.track.tolist(), owners, strict=True))
    assert len(pairs) == len(set(owners)) == len(set(table.track.tolist()))


def test_following_is_the_next_window_of_the_track(table: WindowTable) -> None:
    for window, after in enumerate(table.following):
        same = np.flatnonzero(table.track == table.track[window])
        later = same[same > window]
        assert after == (later[0] if len(later) else -1)


def test_ahead_are_the_next_observations_of_the_track(
    table: WindowTable, two_clips: list[list[TrackFeatures]]
) -> None:
    rows: dict[tuple[int, str], list[int]] = {}
    row = 0
    for number, clip in enumerate(two_clips):
        for image in clip:
            for i, name in enumerate(image.tracks.ids):
                if np.isfinite(image.features[i]).all():
                    rows.setdefault((number, name), []).append(row + i)
            row += len(image.tracks)
    owner = {r: key for key, found in rows.items() for r in found}
    for steps, ahead in zip(table.rows, table.ahead, strict=True):
        track = rows[owner[steps[-1]]]
        place = track.index(steps[-1]) + 1
        expected = [*track[place : place + 2], -1, -1][:2]
        assert ahead.tolist() == expected


def test_kinematic_windows_are_zero_where_nothing_was_observed(table: WindowTable) -> None:
    kinematics = table.kinematic_windows()
    assert not kinematics[~table.valid].any()
    features = table.arrays(np.arange(len(table)))[0]
    np.testing.assert_array_equal(kinematics, features[..., 12:])


def test_clips_without_tracks_are_refused_with_the_remedy(
    two_clips: list[list[TrackFeatures]], layout: FeatureLayout
) -> None:
    empty = [without(image, {0, 1, 2, 3}) for image in two_clips[1]]
    with pytest.raises(ValueError, match="got no window in the clips"):
        build_table([empty], layout=layout, windows=WINDOWS, steps_ahead=0)


def test_a_clip_without_tracks_among_others_does_no_harm(
    two_clips: list[list[TrackFeatures]], layout: FeatureLayout
) -> None:
    empty = [without(image, {0, 1, 2, 3}) for image in two_clips[1]]
    alone, with_empty = (
        build_table(clips, layout=layout, windows=WINDOWS, steps_ahead=0)
        for clips in ([two_clips[0]], [empty, two_clips[0], []])
    )
    np.testing.assert_array_equal(alone.rows, with_empty.rows)
