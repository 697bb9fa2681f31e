from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tao_anomaly.model.config import ModelConfig
from tao_anomaly.model.heads import HEADS, FeatureShape
from tao_anomaly.model.masking import Masks, partition_masks
from tao_anomaly.model.pooling import POOLINGS, AttentionPooling
from tao_anomaly.model.temporal_mae import TemporalMAE, WindowTensors
from tao_anomaly.model.transformer import Block, TimeEncoding

SHAPE = FeatureShape(appearance=6, motion=3, place=5)
TINY = ModelConfig(
    components=6,
    d_model=16,
    depth=2,
    heads=4,
    decoder_dim=8,
    decoder_depth=1,
    decoder_heads=2,
    embedding_dim=4,
    outputs=("reconstruction", "contrastive"),
)
STEPS = 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model_of(config: ModelConfig = TINY) -> TemporalMAE:
    """A model whose parameters are all random: a new one begins with no corrections."""
    model = TemporalMAE(config, SHAPE)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def windows_of(batch: int, *, valid_steps: int = STEPS, cells: int = 0) -> WindowTensors:
    valid = (torch.arange(STEPS) >= STEPS - valid_steps).expand(batch, STEPS)
    return WindowTensors(
        appearance=torch.randn(batch, STEPS, SHAPE.appearance),
        motion=torch.randn(batch, STEPS, SHAPE.motion),
        place=torch.randn(batch, SHAPE.place),
        times=(torch.arange(STEPS) - STEPS + 1.0).expand(batch, STEPS) * 0.1,
        valid=valid.clone(),
        grid=torch.randn(batch, STEPS, cells, SHAPE.appearance) if cells else None,
    )


def first_time_mask(windows: WindowTensors) -> Masks:
    masks = partition_masks(windows.valid, ratio=0.75, time_passes=2, cue_passes=False)
    return masks.select(torch.arange(len(windows)))


def assert_equal_outputs(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6, msg=name)


def test_outputs_have_the_shapes_of_the_windows_and_embeddings_length_one() -> None:
    windows = windows_of(3)
    outputs = model_of()(windows, first_time_mask(windows))
    assert outputs["appearance"].shape == (3, STEPS, 6)
    assert outputs["motion"].shape == (3, STEPS, 3)
    assert outputs["embedding"].shape == (3, 4)
    torch.testing.assert_close(outputs["embedding"].norm(dim=1), torch.ones(3))


def test_what_is_hidden_does_not_reach_the_model() -> None:
    model, windows = model_of(), windows_of(2)
    masks = first_time_mask(windows)
    hidden = masks.hidden
    changed = replace(
        windows,
        appearance=torch.where(hidden[..., :1], 99.0, windows.appearance),
        motion=torch.where(hidden[..., 1:], -99.0, windows.motion),
    )
    assert_equal_outputs(model(windows, masks), model(changed, masks))


def test_what_is_visible_and_the_place_do_reach_it() -> None:
    model, windows = model_of(), windows_of(1)
    masks = first_time_mask(windows)
    base = model(windows, masks)
    for changed in (
        replace(windows, appearance=windows.appearance + 1),
        replace(windows, motion=windows.motion + 1),
        replace(windows, place=windows.place + 1),
        replace(windows, times=windows.times * 2),
    ):
        other = model(changed, masks)
        assert not torch.allclose(base["appearance"], other["appearance"], atol=1e-4)
        assert not torch.allclose(base["embedding"], other["embedding"], atol=1e-4)


def test_invalid_steps_do_not_matter() -> None:
    model, windows = model_of(), windows_of(2, valid_steps=5)
    masks = first_time_mask(windows)
    noise = replace(
        windows,
        appearance=torch.where(windows.valid[..., None], windows.appearance, 50.0),
        motion=torch.where(windows.valid[..., None], windows.motion, 50.0),
        times=torch.where(windows.valid, windows.times, -9.0),
    )
    base, other = model(windows, masks), model(noise, masks)
    valid = windows.valid
    torch.testing.assert_close(base["embedding"], other["embedding"])
    torch.testing.assert_close(base["appearance"][valid], other["appearance"][valid])


def test_a_window_does_not_depend_on_its_batch() -> None:
    model, windows = model_of().eval(), windows_of(4)
    masks = first_time_mask(windows)
    together = model(windows, masks)
    one = torch.tensor([2])
    alone = model(
        WindowTensors(
            *(getattr(windows, n)[one] for n in ("appearance", "motion", "place", "times", "valid"))
        ),
        masks.select(one),
    )
    assert_equal_outputs(alone, {name: value[one] for name, value in together.items()})


def test_the_order_of_the_visible_slots_does_not_matter() -> None:
    model, windows = model_of(), windows_of(2)
    masks = first_time_mask(windows)
    flipped = Masks(masks.visible.flip(1), masks.visible_valid.flip(1), masks.hidden)
    assert_equal_outputs(model(windows, masks), model(windows, flipped))


def test_positions_are_functions_of_time_not_of_the_index() -> None:
    encode = TimeEncoding(width=8, unit=0.1)
    out = encode(torch.tensor([[-0.3, 0.0, 0.0]]))
    assert out.shape == (1, 3, 8)
    torch.testing.assert_close(out[0, 1], out[0, 2])
    assert out[0, 1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert out[0, 0, 0].item() == pytest.approx(torch.tensor(-3.0).sin().item())


@pytest.mark.parametrize("pooling", ["attention", "hybrid"])
def test_learned_pooling_is_trained_by_the_reconstruction(pooling: str) -> None:
    model = model_of(replace(TINY, pooling=pooling))
    windows = windows_of(2, cells=4)
    outputs = model(windows, first_time_mask(windows))
    outputs["appearance"].square().mean().backward()
    learned = [
        p for m in model.modules() if isinstance(m, AttentionPooling) for p in m.parameters()
    ]
    assert learned
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learned)
    assert any(p.grad.abs().sum() > 0 for p in learned)


def test_attention_pooling_starts_as_the_mean_of_the_cells() -> None:
    pool = POOLINGS["attention"](6, 16)
    grid = torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(pool(grid[:, :, 0], grid), pool.project(grid.mean(dim=2)))


def test_attention_pooling_without_grids_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"features\.grid=3"):
        POOLINGS["attention"](6, 16)(torch.zeros(1, 2, 6), None)


def test_optional_heads_predict_variances_and_the_future() -> None:
    config = replace(TINY, outputs=("gaussian", "forecast"), forecast_steps=3)
    windows = windows_of(2)
    outputs = TemporalMAE(config, SHAPE)(windows, first_time_mask(windows))
    assert outputs["forecast"].shape == (2, 3, 6 + 3)
    assert outputs["appearance_log_variance"].shape == outputs["appearance"].shape
    assert outputs["motion_log_variance"].shape == outputs["motion"].shape
    assert "embedding" not in outputs


def test_a_user_adds_a_head_by_its_name() -> None:
    @HEADS.register("test_speed")
    class SpeedHead(nn.Module):
        def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
            super().__init__()
            self.linear = nn.Linear(config.d_model, 1)

        def forward(self, hidden):
            return {"speed": self.linear(hidden.pooled())}

    windows = windows_of(2)
    model = TemporalMAE(replace(TINY, outputs=("test_speed",)), SHAPE)
    assert model(windows, first_time_mask(windows))["speed"].shape == (2, 1)


def test_a_name_is_registered_once_and_an_unknown_one_is_refused() -> None:
    with pytest.raises(ValueError, match="'gap' is taken"):
        POOLINGS.register("gap")(POOLINGS["gap"])
    with pytest.raises(ValueError, match="got 'max', expected one of attention, gap, hybrid"):
        TemporalMAE(replace(TINY, pooling="max"), SHAPE)


def test_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 10 is no multiple of heads 4"):
        Block(width=10, heads=4, mlp_ratio=2, dropout=0.0)


def test_an_untrained_model_rebuilds_by_linear_interpolation() -> None:
    windows = windows_of(1)
    line = torch.linspace(0, 7, STEPS)[None, :, None]
    windows = replace(windows, motion=line * torch.tensor([1.0, -2.0, 0.5]))
    masks = first_time_mask(windows)
    assert masks.hidden[0, :, 1].tolist() == [False, True, True, True, False, True, True, True]
    rebuilt = TemporalMAE(TINY, SHAPE)(windows, masks)["motion"][0, :, 0]
    torch.testing.assert_close(rebuilt, torch.tensor([0.0, 1, 2, 3, 4, 4, 4, 4]))


def test_full_size_model_has_the_designed_parts() -> None:
    model = TemporalMAE(ModelConfig(), FeatureShape(64, 7, 5))
    assert len(model.encoder.blocks) == 6
    assert model.encoder.blocks[0].heads == 8
    assert model.encoder.norm.normalized_shape == (256,)
