"""Frozen standardisation of what the model sees and rebuilds, fitted on training footage."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from tao_anomaly.matrix_product import product
from tao_anomaly.structures import BoolArray, FloatArray

LIMIT = 10.0  # standard deviations; a broken box must not drown a window


@dataclass(frozen=True)
class Standardizer:
    """PCA whitening of appearance, mean and deviation of motion and place.

    appearance_mean ``(A,)`` and appearance_basis ``(C, A)``: whitened components are
    ``basis @ (x - mean)``, of variance 1 on the training data, most variance first. motion_mean and
    motion_std ``(K,)``, place_mean and place_std ``(P,)``.
    """

    appearance_mean: FloatArray
    appearance_basis: FloatArray
    motion_mean: FloatArray
    motion_std: FloatArray
    place_mean: FloatArray
    place_std: FloatArray

    @classmethod
    def fit(
        cls,
        *,
        appearance: FloatArray,
        motion: FloatArray,
        place: FloatArray,
        valid: BoolArray,
        components: int,
    ) -> Standardizer:
        """Fit on appearance ``(N, A)``, motion ``(M, T, K)`` where valid, and place ``(M, P)``."""
        mean, basis = _whitening(appearance, components)
        motion_mean, motion_std = _moments(motion[valid])
        place_mean, place_std = _moments(place)
        return cls(mean, basis, motion_mean, motion_std, place_mean, place_std)

    @classmethod
    def from_tensors(cls, tensors: dict[str, FloatArray]) -> Standardizer:
        """Build from what `tensors` returned."""
        return cls(**{entry.name: tensors[entry.name] for entry in fields(cls)})

    def tensors(self) -> dict[str, FloatArray]:
        """Return the arrays by name, for an artifact."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def appearance(self, gap: FloatArray) -> FloatArray:
        """Whiten GAP features ``(..., A)`` (or cells of a RoI grid) to ``(..., C)``."""
        return _clip(product(gap - self.appearance_mean, self.appearance_basis.T))

    def motion(self, values: FloatArray) -> FloatArray:
        """Standardise motion ``(..., K)``."""
        return _clip((values - self.motion_mean) / self.motion_std)

    def place(self, values: FloatArray) -> FloatArray:
        """Standardise place ``(..., P)``."""
        return _clip((values - self.place_mean) / self.place_std)


def _clip(values: np.ndarray) -> FloatArray:
    return np.clip(values, -LIMIT, LIMIT).astype(np.float32)


def _moments(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    std = np.maximum(values.std(axis=0, dtype=np.float64), 1e-3)
    return values.mean(axis=0, dtype=np.float64).astype(np.float32), std.astype(np.float32)


def _whitening(values: FloatArray, components: int) -> tuple[FloatArray, FloatArray]:
    """Return mean ``(A,)`` and whitening basis ``(C, A)``; each row's largest entry is positive."""
    mean = values.mean(axis=0, dtype=np.float64)
    centred = values.astype(np.float64) - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(values))
    variances, vectors = variances[::-1][:components], vectors[:, ::-1][:, :components].T
    peak = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    floor = 1e-6 * variances[0] + 1e-12  # directions without variance stay finite
    basis = vectors * np.sign(peak) / np.sqrt(np.maximum(variances, floor))[:, None]
    return mean.astype(np.float32), basis.astype(np.float32)
