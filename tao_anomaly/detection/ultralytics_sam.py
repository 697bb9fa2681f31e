"""SAM 2 as ultralytics (AGPL-3.0) ships it: the mask of the object in a box.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024. Only images, no memory over time.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tao_anomaly.detection.ultralytics_adapter import import_ultralytics
from tao_anomaly.structures import BoolArray, FloatArray, ImageArray
from tao_anomaly.weights import WeightsError, check_weights

_INPUT_SIZE = 1024  # pixels, what SAM 2 was trained with


class Sam2:
    """A loaded SAM 2."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    @staticmethod
    def load(path: Path, *, sha256: str, device: str = "auto") -> Sam2:
        """Load weights by their path, whose name says which model they are of (``sam2_t.pt``).

        sha256: as in `check_weights`; this project knows none of SAM 2. Raises WeightsError where
        there is no such file, it is another, it is none of SAM 2 or holds code.
        """
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; give the path of SAM 2 weights")
        check_weights(path, sha256=sha256, setting="mask_weights_sha256")
        import_ultralytics()
        from ultralytics.models.sam.build import build_sam
        from ultralytics.models.sam.predict import SAM2Predictor

        try:
            # ultralytics unpickles whatever a file holds: what passes here is tensors alone.
            torch.load(path, map_location="cpu", weights_only=True)
            model = build_sam(str(path))
        except (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            ValueError,
            KeyError,
            FileNotFoundError,
        ) as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise WeightsError(
                f"{path}: cannot be loaded ({reason}); expected weights of SAM 2 under the name"
                " they are released with, such as sam2_t.pt or sam2.1_b.pt"
            ) from error
        overrides = {
            "model": str(path),
            "imgsz": _INPUT_SIZE,
            "conf": 0.0,
            "device": _device(device),
            "save": False,
            "verbose": False,
        }
        predictor = SAM2Predictor(overrides=overrides)
        predictor.setup_model(model=model, verbose=False)
        return Sam2(predictor)

    def masks(self, image: ImageArray, boxes: FloatArray) -> BoolArray:
        """Return the mask ``(N, H, W)`` of the object in each box ``(N, 4)`` of a BGR image."""
        if not len(boxes):
            return np.zeros((0, *image.shape[:2]), np.bool_)
        self._predictor.set_image(image)
        found = self._predictor(bboxes=boxes)[0].masks
        masks = np.zeros((0, *image.shape[:2])) if found is None else found.data.cpu().numpy()
        if len(masks) != len(boxes):
            raise RuntimeError(f"got {len(masks)} masks of SAM 2 for {len(boxes)} boxes")
        return masks.astype(np.bool_)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
