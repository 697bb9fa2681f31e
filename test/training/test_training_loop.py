from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from accelerate import Accelerator

from tao_anomaly.model.config import TrainingConfig
from tao_anomaly.model.masking import partition_masks
from tao_anomaly.model.temporal_mae import TemporalMAE, WindowTensors
from tao_anomaly.model.window_model import feature_shape
from tao_anomaly.scoring.split import Split
from training.checkpoint import ResumeError
from training.diagnostics import embedding_spread, reconstruction_spread
from training.fit import Footage, training_data
from training.loop import NonFiniteLossError, Trainer, TrainingData, learning_rate
from training.settings import TrainRun


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(footage: Footage, split: Split, tiny_run: TrainRun) -> TrainingData:
    return training_data(footage, split, tiny_run)


def trainer_of(
    data: TrainingData, run: TrainRun, footage: Footage, folder: Path, **changes: object
) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        model=TemporalMAE(run.model, feature_shape(run.model, footage.layout)),
        data=data,
        model_config=run.model,
        masks=run.masks,
        training=replace(run.train, **changes),
        accelerator=Accelerator(cpu=True),
        folder=folder,
    )


def test_learning_rate_warms_up_to_the_peak_and_falls_to_zero() -> None:
    config = TrainingConfig(learning_rate=2.0, warmup=0.2)
    rates = [learning_rate(step, steps=10, config=config) for step in range(11)]
    assert rates[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert rates[6] == pytest.approx(1.0)  # half way down the cosine
    assert rates[10] == pytest.approx(0.0)


def test_a_step_does_not_depend_on_the_steps_before_it_but_for_the_weights(
    data: TrainingData, tiny_run: TrainRun, footage: Footage, tmp_path: Path
) -> None:
    trainer = trainer_of(data, tiny_run, footage, tmp_path)
    batch = trainer._batches(3)[1]
    first = trainer._targets(22, batch)
    torch.manual_seed(99)
    again = trainer._targets(22, batch)
    assert torch.equal(first.masks.visible, again.masks.visible)
    assert not torch.equal(first.masks.visible, trainer._targets(23, batch).masks.visible)


def test_a_non_finite_loss_stops_the_run_and_saves_the_batch(
    data: TrainingData, tiny_run: TrainRun, footage: Footage, tmp_path: Path
) -> None:
    trainer = trainer_of(data, tiny_run, footage, tmp_path)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match="step 0: the loss is not finite") as caught:
        trainer.run()
    found = re.search(r"the batch is in (\S+\.safetensors)", str(caught.value))
    assert found
    saved = safetensors.numpy.load_file(found.group(1))
    batch = trainer._batches(0)[0]
    np.testing.assert_array_equal(saved["valid"], data.table.valid[batch])
    assert np.isfinite(saved["appearance"]).all()


def test_a_run_resumes_at_its_checkpoint_and_refuses_other_settings(
    data: TrainingData, tiny_run: TrainRun, footage: Footage, tmp_path: Path
) -> None:
    whole = trainer_of(data, tiny_run, footage, tmp_path / "whole", epochs=2).run()
    broken = trainer_of(data, tiny_run, footage, tmp_path / "broken", epochs=2)
    train_epoch = broken._train_epoch

    def fail_in_the_second(epoch: int) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        train_epoch(epoch)

    broken._train_epoch = fail_in_the_second  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = trainer_of(data, tiny_run, footage, tmp_path / "broken", epochs=2).run()
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    other = trainer_of(data, tiny_run, footage, tmp_path / "broken", epochs=2, learning_rate=1.0)
    with pytest.raises(ResumeError, match=r"training\.learning_rate = 0\.005, now it is 1\.0"):
        other.run()
    assert [p.name for p in (tmp_path / "broken/checkpoints").iterdir()] == ["epoch-00002"]


def test_spread_is_zero_for_a_collapsed_model_and_one_for_the_data_itself() -> None:
    torch.manual_seed(0)
    valid = torch.ones(50, 4, dtype=torch.bool)
    windows = WindowTensors(
        appearance=torch.randn(50, 4, 3),
        motion=torch.randn(50, 4, 2),
        place=torch.zeros(50, 5),
        times=torch.zeros(50, 4),
        valid=valid,
    )
    masks = partition_masks(valid, ratio=0.75, time_passes=1, cue_passes=True)
    masks = masks.select(torch.arange(50))
    constant = torch.full((50, 4, 3), 7.0)
    found = reconstruction_spread(
        {"appearance": constant, "motion": windows.motion}, windows, masks
    )
    assert found["appearance_spread"].item() == 0.0
    assert found["motion_spread"].item() == pytest.approx(1.0)


def test_embedding_spread_is_one_on_the_sphere_and_zero_in_a_point() -> None:
    even = torch.cat((torch.eye(3), -torch.eye(3)))
    assert embedding_spread(even).item() == pytest.approx(1.0)
    assert embedding_spread(torch.eye(3)[:1].repeat(9, 1)).item() == pytest.approx(0.0, abs=1e-3)
    # two opposite points, three times as many in one: the mean has length 1/2
    points = torch.tensor([[1.0, 0.0]] * 3 + [[-1.0, 0.0]])
    assert embedding_spread(points).item() == pytest.approx(0.75**0.5)
