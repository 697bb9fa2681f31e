from __future__ import annotations

import numpy as np
import torch

from tao_anomaly.model.interpolation import last_visible, linear_interpolation, visible_mean

TIMES = torch.tensor([[-0.7, -0.4, -0.3, -0.1, 0.0]])  # unevenly spaced
VALUES = torch.tensor([[[5.0], [2.0], [7.0], [8.0], [1.0]]])
VISIBLE = torch.tensor([[False, True, False, True, False]])


def test_mean_of_the_visible_steps() -> None:
    assert visible_mean(VALUES, VISIBLE).flatten().tolist() == [5.0] * 5


def test_last_visible_step_and_the_first_one_before_it() -> None:
    assert last_visible(VALUES, VISIBLE).flatten().tolist() == [2.0, 2.0, 2.0, 8.0, 8.0]


def test_line_by_time_not_by_index_and_constant_beyond_the_ends() -> None:
    line = linear_interpolation(VALUES, TIMES, VISIBLE)
    torch.testing.assert_close(line.flatten(), torch.tensor([2.0, 2.0, 4.0, 8.0, 8.0]))


def test_line_is_that_of_numpy() -> None:
    generator = np.random.default_rng(0)
    times = np.sort(generator.uniform(-2, 0, (20, 9)), axis=1).astype(np.float32)
    values = generator.normal(size=(20, 9, 1)).astype(np.float32)
    visible = generator.random((20, 9)) < 0.4
    visible[:, 3] = True
    arrays = (torch.from_numpy(a) for a in (values, times, visible))
    line = linear_interpolation(*arrays)[..., 0].numpy()
    for t, v, seen, got in zip(times, values[..., 0], visible, line, strict=True):
        np.testing.assert_allclose(got, np.interp(t, t[seen], v[seen]), rtol=1e-3, atol=1e-4)


def test_nothing_visible_gives_the_mean_of_standardised_data() -> None:
    none = torch.zeros_like(VISIBLE)
    for guess in (
        visible_mean(VALUES, none),
        last_visible(VALUES, none),
        linear_interpolation(VALUES, TIMES, none),
    ):
        assert guess.flatten().tolist() == [0.0] * 5
