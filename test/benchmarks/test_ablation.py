from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from benchmarks.ablation import Recorded, parts, weightings
from benchmarks.perception_ablation import variants
from tao_anomaly.config import PipelineConfig, differing_settings, portable_settings
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.scoring.calibration import Calibration
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.local_velocity import LocalVelocities
from tao_anomaly.scoring.nearest import Memory
from tao_anomaly.scoring.window_model import JoinedModel
from tao_anomaly.structures import FeatureLayout


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
        term_names, network_terms, calls = ("a", "b"), (), 0

        def terms(self, windows: object, network: object = None) -> np.ndarray:
            self.calls += 1
            return np.full((1, 2), self.calls, np.float32)

    model = Counting()
    recorded = Recorded(model)  # type: ignore[arg-type]
    for stamp in (1, 2, 1, 2):
        found = recorded.terms(SimpleNamespace(stamp_ns=stamp))  # type: ignore[arg-type]
        assert found.tolist() == [[stamp, stamp]]
    assert (model.calls, recorded.images) == (2, 2)
    recorded.begin()  # another clip, the same stamps
    assert recorded.terms(SimpleNamespace(stamp_ns=1))[0, 0] == 3  # type: ignore[arg-type]
    assert recorded.milliseconds((0, 1)) == recorded.milliseconds((1, 1)) > 0  # one part
    assert recorded.milliseconds((0, 0)) == 0


def test_each_cue_is_a_part_of_its_own() -> None:
    layout = FeatureLayout(4, len(KINEMATICS), 0)
    cues = Cues(
        layout=layout,
        scale=SceneScale(0.0, 0.2),
        appearances=Memory(np.eye(4, dtype=np.float32), np.zeros(4, np.bool_)),
        flows=Memory(np.zeros((1, DIRECTIONS), np.float32), np.zeros(1, np.bool_)),
        class_levels=np.zeros(0, np.float32),
        local=LocalVelocities.none(),
        term_names=("speed", "appearance", "flow"),
    )

    class Network:
        term_names = network_terms = ("x", "y")

    network = Network()
    found = parts(JoinedModel(cues, network))  # type: ignore[arg-type]
    assert [part.term_names for part in found] == [
        ("speed",),
        ("appearance",),
        ("flow",),
        ("x", "y"),
    ]
    assert found[-1] is network


def test_each_row_of_perception_changes_one_setting() -> None:
    rows = variants()
    usual = rows.pop("default")
    assert usual == PipelineConfig()
    for name, settings in rows.items():
        assert len(differing_settings(portable_settings(usual), settings)) == 1, name
