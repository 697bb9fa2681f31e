"""From raw windows to the standardised tensors of the temporal MAE, in training and scoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.geometry import window_anchor, window_motion, window_place
from tao_anomaly.model.standardizer import Standardizer
from tao_anomaly.model.temporal_mae import WindowTensors
from tao_anomaly.structures import BoolArray, FeatureLayout, FloatArray


@dataclass(frozen=True)
class WindowPreparation:
    """What stands between a feature window and the model: scene scale and standardisation.

    use_grid: hand the RoI grid on to the model.
    """

    layout: FeatureLayout
    scale: SceneScale
    standardizer: Standardizer
    use_grid: bool

    def tensors(
        self, features: FloatArray, times: FloatArray, valid: BoolArray, aspect: FloatArray
    ) -> WindowTensors:
        """Standardise features ``(M, T, D)``.

        times ``(M, T)`` in seconds, valid ``(M, T)``, aspect ``(M,)``: image width over height.
        """
        kinematics = features[..., self.layout.kinematics_slice]
        motion, place = raw_geometry(kinematics, valid, aspect, self.scale)
        keep = valid[..., None]
        appearance = self.standardizer.appearance(features[..., self.layout.appearance_slice])
        grid = None
        if self.use_grid:
            cells = features[..., self.layout.grid_slice]
            cells = cells.reshape(*valid.shape, -1, self.layout.appearance)
            whitened = np.where(keep[..., None], self.standardizer.appearance(cells), 0.0)
            grid = torch.from_numpy(whitened.astype(np.float32))
        return WindowTensors(
            appearance=_tensor(np.where(keep, appearance, 0.0)),
            motion=_tensor(np.where(keep, self.standardizer.motion(motion), 0.0)),
            place=_tensor(self.standardizer.place(place)),
            times=_tensor(np.where(valid, times, 0.0)),
            valid=torch.from_numpy(valid),
            grid=grid,
        )

    def future(
        self, features: FloatArray, valid: BoolArray, aspect: FloatArray, ahead: FloatArray
    ) -> torch.Tensor:
        """Standardise the observations ahead ``(M, F, D)`` of windows to ``(M, F, C + K)``."""
        kinematics = self.layout.kinematics_slice
        anchor = window_anchor(features[..., kinematics], valid, aspect, self.scale)
        motion = window_motion(ahead[..., kinematics], aspect, anchor)
        appearance = self.standardizer.appearance(ahead[..., self.layout.appearance_slice])
        return _tensor(np.concatenate((appearance, self.standardizer.motion(motion)), axis=-1))


def raw_geometry(
    kinematics: FloatArray, valid: BoolArray, aspect: FloatArray, scale: SceneScale
) -> tuple[FloatArray, FloatArray]:
    """Return motion ``(M, T, K)`` and place ``(M, P)`` of kinematics ``(M, T, 15)``, unscaled."""
    anchor = window_anchor(kinematics, valid, aspect, scale)
    motion = window_motion(kinematics, aspect, anchor)
    return motion, window_place(motion, valid, aspect, anchor)


def _tensor(values: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
