from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from benchmarks.ablation import Recorded, weightings
from tao_anomaly.scoring.calibration import Calibration


def test_each_row_changes_the_weights_of_one_part() -> None:
    names = ("speed", "appearance", "recon", "dissimilarity")
    calibration = Calibration(names, (0,) * 4, (1,) * 4, (1, 1, 0.5, 0.5), 10.0, {"rule": "fixed"})
    artifact = SimpleNamespace(calibration=calibration)
    rows = weightings(artifact, ("recon", "dissimilarity"))  # type: ignore[arg-type]
    assert rows == {
        "all": (1, 1, 0.5, 0.5),
        "speed alone": (1, 0, 0, 0),
        "appearance alone": (0, 1, 0, 0),
        "recon alone": (0, 0, 0.5, 0),
        "dissimilarity alone": (0, 0, 0, 0.5),
        "the network alone": (0, 0, 0.5, 0.5),
        "all but speed": (0, 1, 0.5, 0.5),
        "all but appearance": (1, 0, 0.5, 0.5),
        "all but the network": (1, 1, 0, 0),
    }


def test_terms_of_an_image_are_computed_once() -> None:
    class Counting:
        term_names, network_terms, calls = ("a",), (), 0

        def terms(self, windows: object, network: object = None) -> np.ndarray:
            self.calls += 1
            return np.full((1, 1), self.calls, np.float32)

    model = Counting()
    recorded = Recorded(model)  # type: ignore[arg-type]
    for stamp in (1, 2, 1, 2):
        found = recorded.terms(SimpleNamespace(stamp_ns=stamp))  # type: ignore[arg-type]
        assert found.item() == stamp
    assert (model.calls, recorded.images) == (2, 2)
    recorded.begin()  # another clip, the same stamps
    assert recorded.terms(SimpleNamespace(stamp_ns=1)).item() == 3  # type: ignore[arg-type]
