"""The windows of each training step: a function of seed and step alone, so that a run resumes."""

from __future__ import annotations

import numpy as np

from tao_anomaly.structures import IntArray
from training.window_table import WindowTable


def epoch_batches(table: WindowTable, *, batch_size: int, seed: int, epoch: int) -> list[IntArray]:
    """Return the window numbers of each step of an epoch.

    Adjacent windows of a track stand side by side as far as they pair up, because the contrastive
    loss needs them in one batch. Every window is drawn once; a last incomplete batch is left out
    (another one in each epoch) unless it is the only one.
    """
    generator = np.random.default_rng((seed, epoch))
    units = _pairs(table, generator)
    order = np.concatenate([units[i] for i in generator.permutation(len(units))])
    full = max(1, len(order) // batch_size)
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(full)]


def positives(table: WindowTable, windows: IntArray) -> IntArray:
    """Return for each window of a batch the place of an adjacent one in it, -1 where none is."""
    place = {int(window): i for i, window in enumerate(windows)}
    after = np.array([place.get(int(table.following[w]), -1) for w in windows], np.int64)
    before = np.full(len(windows), -1, np.int64)
    linked = np.flatnonzero(after >= 0)
    before[after[linked]] = linked
    return np.where(after >= 0, after, before)


def _pairs(table: WindowTable, generator: np.random.Generator) -> list[IntArray]:
    """Split each track's windows into pairs of neighbours, beginning with its first or second."""
    order = np.argsort(table.track, kind="stable")
    tracks = np.split(order, np.flatnonzero(np.diff(table.track[order])) + 1)
    units = []
    for windows in tracks:
        begin = int(generator.integers(2))
        if begin:
            units.append(windows[:1])
        units += [windows[i : i + 2] for i in range(begin, len(windows), 2)]
    return units
