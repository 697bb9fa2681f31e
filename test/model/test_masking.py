from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.model.masking import partition_masks, random_masks, slots_of

STEPS = 16


def valid_of(*counts: int, steps: int = STEPS) -> torch.Tensor:
    """Windows whose last `count` steps are valid, as a track buffer fills them."""
    return torch.arange(steps)[None] >= steps - torch.tensor(counts)[:, None]


def draw(valid: torch.Tensor, *, cue_probability: float, seed: int = 0, ratio: float = 0.75):
    generator = torch.Generator().manual_seed(seed)
    return random_masks(valid, ratio=ratio, cue_probability=cue_probability, generator=generator)


def shown(masks, steps: int = STEPS) -> torch.Tensor:
    """(B, T, 2): which tokens are visible, counted from the slots."""
    out = torch.zeros(len(masks.visible), 2 * steps, dtype=torch.long)
    for b, (tokens, used) in enumerate(zip(masks.visible, masks.visible_valid, strict=True)):
        for token in tokens[used]:
            out[b, token] += 1
    assert out.max() <= 1, "a token is shown twice"
    return out.view(-1, 2, steps).transpose(1, 2).bool()


def test_time_mask_hides_three_quarters_of_the_steps_with_both_cues() -> None:
    masks = draw(valid_of(16, 16), cue_probability=0.0)
    assert masks.hidden.sum(dim=1).tolist() == [[12, 12], [12, 12]]
    assert torch.equal(masks.hidden[..., 0], masks.hidden[..., 1])
    assert torch.equal(shown(masks), ~masks.hidden)


def test_cue_mask_hides_one_cue_wholly_and_half_of_the_other() -> None:
    masks = draw(valid_of(*[16] * 40), cue_probability=1.0)
    counts = {tuple(row) for row in masks.hidden.sum(dim=1).tolist()}
    assert counts == {(8, 16), (16, 8)}  # all motion hidden, or all appearance


def test_half_of_the_masks_are_cue_masks_at_probability_one_half() -> None:
    hidden = draw(valid_of(*[16] * 4000), cue_probability=0.5).hidden.sum(dim=1)
    share = float((hidden[:, 0] != hidden[:, 1]).float().mean())
    assert share == pytest.approx(0.5, abs=0.03)


def test_short_window_shows_a_quarter_of_its_valid_steps_but_at_least_one() -> None:
    masks = draw(valid_of(8, 4, 2, 1), cue_probability=0.0)
    assert shown(masks).any(dim=-1).sum(dim=1).tolist() == [2, 1, 1, 1]
    assert masks.hidden[..., 0].sum(dim=1).tolist() == [6, 3, 1, 0]


def test_same_generator_state_same_masks_and_another_seed_others() -> None:
    valid = valid_of(*[16] * 8)
    first, again = draw(valid, cue_probability=0.4), draw(valid, cue_probability=0.4)
    other = draw(valid, cue_probability=0.4, seed=1)
    assert torch.equal(first.visible, again.visible)
    assert not torch.equal(first.visible, other.visible)


def test_random_masks_hide_all_steps_equally_often() -> None:
    masks = draw(valid_of(*[16] * 4000), cue_probability=0.0)
    share = masks.hidden[..., 0].float().mean(dim=0)
    assert share.tolist() == pytest.approx([0.75] * 16, abs=0.03)


def test_partition_of_a_full_window_is_the_one_worked_out_by_hand() -> None:
    masks = partition_masks(valid_of(16), ratio=0.75, time_passes=2, cue_passes=True)
    steps = [shown(masks)[p].nonzero().tolist() for p in range(4)]
    assert steps[0] == [[t, c] for t in (0, 4, 8, 12) for c in (0, 1)]
    assert steps[1] == [[t, c] for t in (2, 6, 10, 14) for c in (0, 1)]
    assert steps[2] == [[t, 0] for t in range(1, 16, 2)]  # all motion hidden
    assert steps[3] == [[t, 1] for t in range(1, 16, 2)]  # all appearance hidden


def test_partition_without_cue_passes_needs_two_time_passes() -> None:
    with pytest.raises(ValueError, match="time_passes: got 1"):
        partition_masks(valid_of(16), ratio=0.75, time_passes=1, cue_passes=False)


@settings(max_examples=60, deadline=None)
@given(
    pattern=st.lists(st.booleans(), min_size=2, max_size=20).filter(lambda p: sum(p) >= 2),
    ratio=st.floats(0.5, 0.95),
    passes=st.integers(2, 5),
)
def test_partition_hides_every_valid_step_at_least_once_and_nothing_else(
    pattern: list[bool], ratio: float, passes: int
) -> None:
    valid = torch.tensor([pattern])
    masks = partition_masks(valid, ratio=ratio, time_passes=passes, cue_passes=False)
    ever = masks.hidden.any(dim=0)
    assert torch.equal(ever, valid[0, :, None].expand(-1, 2))
    seen = shown(masks, len(pattern))
    assert torch.equal(seen, valid[..., None] & ~masks.hidden)
    assert seen.any(dim=1).all(), "each pass shows something"


@settings(max_examples=60, deadline=None)
@given(
    pattern=st.lists(st.booleans(), min_size=2, max_size=20),
    ratio=st.floats(0.5, 0.95),
    cue_probability=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_random_masks_never_touch_invalid_steps(
    pattern: list[bool], ratio: float, cue_probability: float, seed: int
) -> None:
    valid = torch.tensor([pattern, pattern])
    masks = draw(valid, cue_probability=cue_probability, seed=seed, ratio=ratio)
    assert torch.equal(shown(masks, len(pattern)), valid[..., None] & ~masks.hidden)
    assert masks.visible.shape == (2, 2 * slots_of(len(pattern), ratio))
