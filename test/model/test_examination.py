from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tao_anomaly.model.config import ScoringConfig
from tao_anomaly.model.examination import (
    TERMS,
    Examination,
    NormalErrors,
    check_scoring,
    examine,
)
from tao_anomaly.model.masking import Masks
from tao_anomaly.model.temporal_mae import WindowTensors


def windows_of(count: int, steps: int) -> WindowTensors:
    return WindowTensors(
        appearance=torch.zeros(count, steps, 1),
        motion=torch.zeros(count, steps, 1),
        place=torch.zeros(count, 5),
        times=torch.zeros(count, steps),
        valid=torch.ones(count, steps, dtype=torch.bool),
    )


def test_each_part_is_the_mean_over_the_passes_and_steps_that_hid_it() -> None:
    # One window of three steps in four passes: two of steps, motion hidden, appearance hidden.
    # The value rebuilt for pass p and step t is 1 + 3 p + t; the target is 0.
    rebuilt = torch.arange(1.0, 13.0).view(4, 3, 1)
    hidden = torch.zeros(4, 3, 2, dtype=torch.bool)
    hidden[0, :2] = True  # steps 0, 1
    hidden[1, 1:2] = True  # step 1; step 2 is never hidden in a time pass
    hidden[2, :, 1] = True
    hidden[2, 0, 0] = True  # the other cue is hidden in part: it does not count
    hidden[3, :, 0] = True
    masks = Masks(torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1).bool(), hidden)
    outputs = {"appearance": rebuilt, "motion": rebuilt, "embedding": torch.eye(4)}
    seen = examine(outputs, windows_of(4, 3), masks, ScoringConfig(time_passes=2))
    found = {name: value.tolist() for name, value in seen.parts.items()}
    assert found == {
        "step_appearance": [[pytest.approx((1 + 4 + 25) / 3)]],
        "step_motion": [[pytest.approx((1 + 4 + 25) / 3)]],
        "cue_appearance": [[pytest.approx((100 + 121 + 144) / 3)]],
        "cue_motion": [[pytest.approx((49 + 64 + 81) / 3)]],
    }
    by_steps = [[1.0, pytest.approx((4 + 25) / 2), pytest.approx(math.nan, nan_ok=True)]]
    assert {name: value.tolist() for name, value in seen.steps.items()} == {
        "step_appearance": by_steps,
        "step_motion": by_steps,
        "cue_appearance": [[100, 121, 144]],
        "cue_motion": [[49, 64, 81]],
    }
    half = math.sqrt(0.5)  # the mean direction of the two time passes
    np.testing.assert_allclose(seen.embedding, [[half, half, 0, 0]], atol=1e-6)


def test_without_cue_passes_there_are_the_step_parts_only() -> None:
    masks = Masks(
        torch.zeros(2, 1, dtype=torch.long),
        torch.ones(2, 1).bool(),
        torch.ones(2, 3, 2, dtype=torch.bool),
    )
    outputs = {
        "appearance": torch.ones(2, 3, 1),
        "motion": torch.ones(2, 3, 1),
        "embedding": torch.eye(2),
    }
    scoring = ScoringConfig(cue_passes=False, terms=("recon",), weights=(1.0,))
    seen = examine(outputs, windows_of(2, 3), masks, scoring)
    assert list(seen.parts) == ["step_appearance", "step_motion"]


def seen_with(errors: list[list[float]]) -> Examination:
    values = np.array(errors, np.float32)
    return Examination(
        parts={"step_motion": values, "cue_motion": 10 * values},
        steps={},
        embedding=np.tile(np.array([0.6, 0.8], np.float32), (len(values), 1)),
    )


def test_errors_are_counted_in_normal_deviations_and_the_one_far_off_speaks() -> None:
    # Value 0 is normally 1 +- 1, value 1 is 5 +- 4.
    normal = NormalErrors.fit([seen_with([[0.0, 1.0]]), seen_with([[2.0, 9.0]])])
    assert normal.mean["step_motion"].tolist() == [1.0, 5.0]
    assert normal.std["step_motion"].tolist() == [1.0, 4.0]
    errors = np.array([[1.0, 5.0], [4.0, 5.0], [1.0, 17.0]], np.float32)
    found = normal.stand_out("step_motion", errors)
    off = math.log((math.exp(3) + 1) / 2)  # three deviations of one value, none of the other
    assert found.tolist() == pytest.approx([0.0, off, off])


def test_a_broken_value_stays_finite() -> None:
    normal = NormalErrors.fit([seen_with([[1.0, 1.0]]), seen_with([[1.0, 1.0]])])
    found = normal.stand_out("step_motion", np.array([[1e30, -1e30]], np.float32))
    assert found[0] == pytest.approx(20 - math.log(2))


def test_terms_are_the_parts_their_mean_and_the_distance_from_the_memory() -> None:
    normal = NormalErrors.fit([seen_with([[0.0, 1.0]]), seen_with([[2.0, 9.0]])])
    seen = seen_with([[4.0, 5.0]])
    memory = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    off = math.log((math.exp(3) + 1) / 2)
    for name in ("step_motion", "cue_motion", "recon"):
        assert TERMS[name](seen, normal, memory).tolist() == pytest.approx([off])
    assert TERMS["dissimilarity"](seen, normal, memory).tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cue_passes": False}, "got cue terms without passes for them"),
        ({"terms": ("speed",), "weights": (1.0,)}, r"got \['speed'\], expected some of"),
        ({"weights": (1.0,)}, "got 1 weights for 5 terms"),
    ],
)
def test_scoring_that_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_scoring(ScoringConfig(**changes))
