from __future__ import annotations

import numpy as np
import pytest

from tao_anomaly.model.memory import dissimilarity, select_coreset


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_dissimilarity_is_one_minus_the_highest_cosine() -> None:
    memory = on_circle(0, 90)
    values = dissimilarity(on_circle(0, 60, 180), memory)
    expected = [0.0, 1 - np.cos(np.radians(30)), 1.0]
    assert values.tolist() == pytest.approx(expected, abs=1e-6)


def test_coreset_begins_in_the_middle_and_takes_the_farthest() -> None:
    embeddings = on_circle(0, 10, 20, 30, 150)
    np.testing.assert_array_equal(select_coreset(embeddings, 2), on_circle(30, 150))


def test_coreset_of_fewer_embeddings_than_asked_holds_them_all() -> None:
    embeddings = on_circle(0, 40, 80)
    chosen = select_coreset(embeddings, 10)
    assert sorted(map(tuple, chosen)) == sorted(map(tuple, embeddings))
