from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_anomaly.config import CalibrationConfig
from tao_anomaly.scoring.split import cut_long_clips, split_clips


def test_shares_are_of_the_clips() -> None:
    names = [f"Train{i:03d}" for i in range(16)]
    split = split_clips(names, CalibrationConfig(calibration_share=0.25, check_share=0.125))
    assert [len(part) for part in (split.train, split.calibration, split.check)] == [10, 4, 2]


@given(
    count=st.integers(3, 40),
    held=st.floats(0, 0.33),
    checked=st.floats(0, 0.33),
    seed=st.integers(0, 9),
)
def test_every_clip_is_in_one_part_and_no_part_is_empty(
    count: int, held: float, checked: float, seed: int
) -> None:
    names = [f"clip {i}" for i in range(count)]
    config = CalibrationConfig(calibration_share=held, check_share=checked, seed=seed)
    split = split_clips(names, config)
    together = [*split.train, *split.calibration, *split.check]
    assert sorted(together) == sorted(names)
    assert split.train
    assert split.calibration
    assert split.check
    assert split_clips(names[::-1], config) == split  # whatever order they are found in


def test_the_seed_decides() -> None:
    names = [str(i) for i in range(20)]
    splits = {split_clips(names, CalibrationConfig(seed=seed)) for seed in range(5)}
    assert len(splits) == 5


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match="got 2 clips, expected at least 3"):
        split_clips(["a", "b"], CalibrationConfig())
    greedy = CalibrationConfig(calibration_share=0.5, check_share=0.5)
    with pytest.raises(ValueError, match="leave none to train on; lower them"):
        split_clips(["a", "b", "c", "d"], greedy)


def test_one_long_clip_is_cut_into_ten_consecutive_pieces() -> None:
    cut = cut_long_clips({"video": list(range(105))})
    assert list(cut) == [f"video#{piece:02d}" for piece in range(10)]
    assert [image for images in cut.values() for image in images] == list(range(105))
    assert {len(images) for images in cut.values()} <= {10, 11}


def test_two_clips_are_cut_each_and_three_are_left_whole() -> None:
    assert len(cut_long_clips({"a": range(50), "b": range(30)})) == 20
    three = {name: [1, 2] for name in "abc"}
    assert cut_long_clips(three) == three


def test_no_piece_is_empty() -> None:
    assert cut_long_clips({"a": [7, 8]}) == {"a#02": [7], "a#07": [8]}
