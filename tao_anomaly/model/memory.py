"""Memory of normal embeddings: a coreset that covers them, and the likeness of a window to it."""

from __future__ import annotations

import numpy as np

from tao_anomaly.matrix_product import product
from tao_anomaly.structures import FloatArray


def select_coreset(embeddings: FloatArray, size: int) -> FloatArray:
    """Return at most `size` of the unit embeddings ``(N, E)``, spread so that all are near one.

    Greedy k-centre (Gonzalez 1985; Sener and Savarese, ICLR 2018): begins with the embedding
    nearest to the mean, then adds the one least like any chosen. Deterministic.
    """
    chosen = [int((embeddings @ embeddings.mean(axis=0)).argmax())]
    nearest = embeddings @ embeddings[chosen[0]]
    while len(chosen) < min(size, len(embeddings)):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, embeddings @ embeddings[chosen[-1]])
    return embeddings[chosen]


def dissimilarity(embeddings: FloatArray, memory: FloatArray) -> FloatArray:
    """Return 1 - the highest cosine similarity to the memory ``(R, E)``, ``(N,)`` in 0..2."""
    return 1.0 - product(embeddings, memory.T).max(axis=1)
