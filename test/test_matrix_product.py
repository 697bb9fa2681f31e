from __future__ import annotations

import numpy as np

from tao_anomaly.matrix_product import product

LEFT = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
RIGHT = np.array([[7, 8, 9], [10, 11, 12]], np.float32)
FOUND = [[27, 30, 33], [61, 68, 75], [95, 106, 117]]


def test_it_is_the_product_by_hand() -> None:
    found = product(LEFT, RIGHT)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, FOUND)


def test_views_and_stacks_are_taken_as_they_are() -> None:
    wide = np.zeros((3, 5), np.float32)
    wide[:, 1:3] = LEFT
    np.testing.assert_array_equal(product(wide[:, 1:3], RIGHT.T.copy().T), FOUND)
    np.testing.assert_array_equal(
        product(np.stack([LEFT, 2 * LEFT]), RIGHT)[1], 2 * np.array(FOUND)
    )
    np.testing.assert_array_equal(product(LEFT.astype(np.float64), RIGHT), FOUND)
    assert product(LEFT[:0], RIGHT).shape == (0, 3)
