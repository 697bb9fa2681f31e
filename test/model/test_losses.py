from __future__ import annotations

import math

import pytest
import torch

from tao_anomaly.model.losses import (
    LOSSES,
    Targets,
    contrastive_loss,
    forecast_loss,
    reconstruction_loss,
    token_errors,
    total_loss,
)
from tao_anomaly.model.masking import Masks
from tao_anomaly.model.temporal_mae import WindowTensors


def make_targets(
    *,
    appearance: torch.Tensor | None = None,
    motion: torch.Tensor | None = None,
    hidden: torch.Tensor | None = None,
    track: list[int] | None = None,
    positive: list[int] | None = None,
    future: torch.Tensor | None = None,
    future_valid: torch.Tensor | None = None,
    temperature: float = 1.0,
) -> Targets:
    appearance = torch.zeros(1, 2, 2) if appearance is None else appearance
    motion = torch.zeros(1, 2, 1) if motion is None else motion
    batch, steps = appearance.shape[:2]
    windows = WindowTensors(
        appearance=appearance,
        motion=motion,
        place=torch.zeros(batch, 5),
        times=torch.zeros(batch, steps),
        valid=torch.ones(batch, steps, dtype=torch.bool),
    )
    hidden = torch.ones(batch, steps, 2, dtype=torch.bool) if hidden is None else hidden
    unused = torch.zeros(batch, 1, dtype=torch.long)
    return Targets(
        windows=windows,
        masks=Masks(unused, unused.bool(), hidden),
        track=torch.tensor(track or [0] * batch),
        positive=torch.tensor(positive or [-1] * batch),
        future=torch.zeros(batch, 0, 3) if future is None else future,
        future_valid=torch.zeros(batch, 0, dtype=torch.bool)
        if future_valid is None
        else future_valid,
        temperature=temperature,
    )


def test_reconstruction_is_the_mean_over_hidden_tokens_of_each_cue_averaged() -> None:
    # Step 0 is hidden in both cues, step 1 in motion only.
    hidden = torch.tensor([[[True, True], [False, True]]])
    targets = make_targets(
        appearance=torch.tensor([[[1.0, 3.0], [50.0, 50.0]]]),
        motion=torch.tensor([[[2.0], [4.0]]]),
        hidden=hidden,
    )
    outputs = {"appearance": torch.zeros(1, 2, 2), "motion": torch.zeros(1, 2, 1)}
    # appearance: (1 + 9) / 2 = 5; motion: (4 + 16) / 2 = 10; mean 7.5
    assert reconstruction_loss(outputs, targets).item() == pytest.approx(7.5)


def test_reconstruction_of_nothing_hidden_is_zero() -> None:
    hidden = torch.zeros(1, 2, 2, dtype=torch.bool)
    outputs = {"appearance": torch.ones(1, 2, 2), "motion": torch.ones(1, 2, 1)}
    assert reconstruction_loss(outputs, make_targets(hidden=hidden)).item() == 0.0


def test_gaussian_error_is_the_negative_log_likelihood_without_its_constant() -> None:
    targets = make_targets(motion=torch.tensor([[[2.0], [0.0]]]))
    outputs = {
        "appearance": torch.zeros(1, 2, 2),
        "motion": torch.zeros(1, 2, 1),
        "motion_log_variance": torch.full((1, 2, 1), math.log(4.0)),
    }
    errors = token_errors(outputs, targets.windows)
    # (2^2 / 4 + ln 4) / 2 and (0 + ln 4) / 2
    expected = [(1 + math.log(4)) / 2, math.log(4) / 2]
    assert errors[0, :, 1].tolist() == pytest.approx(expected)
    reference = torch.nn.functional.gaussian_nll_loss(
        torch.zeros(1), torch.tensor([2.0]), torch.tensor([4.0])
    )
    assert errors[0, 0, 1].item() == pytest.approx(reference.item())


def test_contrastive_with_one_negative_is_the_logistic_of_the_difference() -> None:
    embedding = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    targets = make_targets(
        appearance=torch.zeros(3, 2, 2),
        motion=torch.zeros(3, 2, 1),
        track=[7, 7, 8],
        positive=[1, 0, -1],
        temperature=0.5,
    )
    # anchor 0: positive 0.6 / 0.5, negative 0 / 0.5; anchor 1: positive 1.2, negative 0.8 / 0.5
    first, second = math.log(1 + math.exp(-1.2)), math.log(1 + math.exp(1.6 - 1.2))
    loss = contrastive_loss({"embedding": embedding}, targets)
    assert loss.item() == pytest.approx((first + second) / 2)


def test_other_windows_of_the_same_track_are_no_negatives() -> None:
    embedding = torch.nn.functional.normalize(torch.randn(4, 3), dim=1)
    targets = make_targets(
        appearance=torch.zeros(4, 2, 2),
        motion=torch.zeros(4, 2, 1),
        track=[1, 1, 1, 1],
        positive=[1, 0, 3, 2],
    )
    assert contrastive_loss({"embedding": embedding}, targets).item() == pytest.approx(0.0)


def test_contrastive_without_any_positive_is_zero_and_has_a_gradient() -> None:
    embedding = torch.randn(2, 3, requires_grad=True)
    targets = make_targets(
        appearance=torch.zeros(2, 2, 2), motion=torch.zeros(2, 2, 1), track=[0, 1]
    )
    loss = contrastive_loss({"embedding": embedding}, targets)
    loss.backward()
    assert loss.item() == 0.0
    assert embedding.grad is not None
    assert embedding.grad.abs().sum() == 0


def test_forecast_counts_observed_steps_only() -> None:
    targets = make_targets(
        future=torch.tensor([[[1.0, 2.0, 3.0], [9.0, 9.0, 9.0]]]),
        future_valid=torch.tensor([[True, False]]),
    )
    loss = forecast_loss({"forecast": torch.zeros(1, 2, 3)}, targets)
    assert loss.item() == pytest.approx((1 + 4 + 9) / 3)


def test_total_is_the_weighted_sum_and_parts_are_unweighted() -> None:
    targets = make_targets(
        motion=torch.tensor([[[2.0], [2.0]]]),
        future=torch.ones(1, 1, 3),
        future_valid=torch.ones(1, 1, dtype=torch.bool),
    )
    outputs = {
        "appearance": torch.zeros(1, 2, 2),
        "motion": torch.zeros(1, 2, 1),
        "forecast": torch.zeros(1, 1, 3),
    }
    total, parts = total_loss(outputs, targets, {"reconstruction": 1.0, "forecast": 0.5})
    assert {name: part.item() for name, part in parts.items()} == {
        "reconstruction": 2.0,
        "forecast": 1.0,
    }
    assert total.item() == pytest.approx(2.5)


def test_a_loss_without_its_head_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"'forecast' needs .* add its head to model.outputs"):
        total_loss({"embedding": torch.zeros(1, 2)}, make_targets(), {"forecast": 1.0})


def test_an_unknown_loss_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="expected one of contrastive, forecast, reconstruction"):
        LOSSES["recon"]
