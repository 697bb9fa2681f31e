"""What a trained model is worth on normal footage it has not seen; no label is needed."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from tao_anomaly.model.examination import TERMS, Examination
from tao_anomaly.model.interpolation import (
    last_visible,
    linear_interpolation,
    visible_mean,
)
from tao_anomaly.model.masking import partition_masks
from tao_anomaly.model.temporal_mae import WindowTensors
from tao_anomaly.model.window_model import MIN_STEPS, TemporalMaeModel, WindowExaminer
from tao_anomaly.structures import FloatArray, IntArray
from training.diagnostics import spreads
from training.window_table import WindowTable

Errors = dict[str, dict[str, float]]
_Sums = defaultdict[str, defaultdict[str, list[FloatArray]]]
MAE = "temporal MAE"
_CHUNK = 256  # windows in one forward pass


def drawn_windows(table: WindowTable, count: int) -> IntArray:
    """Return at most `count` windows of MIN_STEPS steps or more, evenly spaced."""
    usable = np.flatnonzero(table.valid.sum(axis=1) >= MIN_STEPS)
    chosen = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(np.int64)
    return usable[chosen] if len(usable) else usable


def compare_predictors(examiner: WindowExaminer, table: WindowTable, count: int) -> Errors:
    """Return the mean squared error of hidden tokens by kind of mask and cue, then by predictor.

    Kinds are "steps hidden" (the time passes of the scorer) and "cue hidden" (its cue passes, where
    the trivial predictors know nothing of the hidden cue and say the mean of all data).
    """
    sums: _Sums = defaultdict(lambda: defaultdict(list))
    for rows in _chunks(drawn_windows(table, count)):
        _collect(examiner, examiner.preparation.tensors(*table.arrays(rows)), sums)
    return {
        kind: {name: float(np.concatenate(errors).mean()) for name, errors in found.items()}
        for kind, found in sums.items()
    }


def _collect(examiner: WindowExaminer, windows: WindowTensors, sums: _Sums) -> None:
    passes, count = examiner.config.scoring.time_passes, len(windows)
    masks = partition_masks(
        windows.valid, ratio=examiner.config.masks.ratio, time_passes=passes, cue_passes=True
    )
    repeated = windows.repeat(passes + 2)
    outputs = examiner.engine.run(repeated, masks)
    is_time = torch.arange(len(repeated)) < passes * count
    shown = masks.shown(windows.valid.shape[1])
    for i, cue in enumerate(("appearance", "motion")):
        target, visible = getattr(repeated, cue), shown[..., i]
        predicted = {
            MAE: outputs[cue],
            "mean": visible_mean(target, visible),
            "linear": linear_interpolation(target, repeated.times, visible),
            "last": last_visible(target, visible),
        }
        kinds = {"steps hidden": is_time, "cue hidden": ~is_time & ~visible.any(dim=1)}
        for kind, windows_of_kind in kinds.items():
            chosen = masks.hidden[..., i] & windows_of_kind[:, None]
            for name, values in predicted.items():
                error = (values - target).square().mean(dim=-1)[chosen]
                sums[f"{cue}, {kind}"][name].append(error.numpy())


def measure_spread(examiner: WindowExaminer, table: WindowTable, count: int) -> dict[str, float]:
    """Return the spreads of ``training.diagnostics`` under the time passes of the scorer."""
    windows = examiner.preparation.tensors(*table.arrays(drawn_windows(table, count)))
    masks = partition_masks(
        windows.valid,
        ratio=examiner.config.masks.ratio,
        time_passes=examiner.config.scoring.time_passes,
        cue_passes=True,
    ).select(torch.arange(len(windows)))
    outputs = examiner.engine.run(windows, masks)
    return {name: float(value) for name, value in spreads(outputs, windows, masks).items()}


def shuffled_auc(model: TemporalMaeModel, table: WindowTable, count: int, seed: int) -> float:
    """Return the AUC of the term `recon` for windows with their steps in another order.

    The times stay; the observations of the valid steps change places. 0.5: the model does not know
    the order of things.
    """
    generator = np.random.default_rng(seed)
    rows = drawn_windows(table, count)
    shuffled = table.rows[rows].copy()
    for row in shuffled:
        row[row >= 0] = generator.permutation(row[row >= 0])
    real, broken = (_recon(model, table, rows, steps) for steps in (table.rows[rows], shuffled))
    labels = np.repeat([0, 1], len(rows))
    return float(roc_auc_score(labels, np.concatenate((real, broken))))


def _recon(
    model: TemporalMaeModel, table: WindowTable, windows: IntArray, rows: IntArray
) -> FloatArray:
    """Return the term ``(M,)`` of windows whose steps are the observations `rows`."""
    found = []
    for chunk in _chunks(np.arange(len(windows))):
        seen = model.examiner.examine(*table.arrays(windows[chunk], rows[chunk]))
        found.append(TERMS["recon"](seen, model.normal, model.memory))
    return np.concatenate(found)


def examine_all(examiner: WindowExaminer, table: WindowTable) -> list[Examination]:
    """Examine all windows of a table that have enough steps."""
    chunks = _chunks(drawn_windows(table, len(table)))
    return [examiner.examine(*table.arrays(rows)) for rows in chunks]


def _chunks(rows: IntArray) -> list[IntArray]:
    return [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]
