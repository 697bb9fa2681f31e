"""How tall a person appears at each place of a scene, learned from normal footage.

A box's own height misleads as a unit of length: parts and flat objects are low. On a ground plane
under a camera without roll the height of a standing person grows linearly with the image row of
the feet (Hoiem, Efros and Hebert, "Putting Objects in Perspective", CVPR 2006).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import HuberRegressor

from tao_anomaly.structures import MOVING_OBJECT, FloatArray, TrackFeatures

_CONFIDENT = 0.5  # detections from here on are whole objects, most of them
_FEWEST = 50  # observations a line is fitted on; fewer give a constant
_MARGIN = 2.0  # how far beyond the heights seen the line may reach


@dataclass(frozen=True)
class SceneScale:
    """Person height as a line over the image row of the feet, both in image heights.

    lowest, highest: bounds of the height. A moving camera has no such line: `lowest` 0 stands for
    the box's own height.
    """

    intercept: float = 0.0
    slope: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0

    @staticmethod
    def fit(images: Iterable[TrackFeatures], *, camera_motion: str = "static") -> SceneScale:
        """Fit on the confident objects of the commonest class; without any, boxes keep their own.

        So they do where the camera moves: a row of its image is then no place of the scene.
        The commonest class of the normal footage stands for a person: on a road it is a car, and
        all lengths are then in car heights.
        """
        if camera_motion != "static":
            return SceneScale()
        rows = [row for image in images for row in _observations(image)]
        if not rows:
            return SceneScale()
        table = np.array(rows, np.float64)
        classes, counts = np.unique(table[:, 0], return_counts=True)
        bottom, height = table[table[:, 0] == classes[counts.argmax()], 1:].T
        low, high = np.quantile(height, [0.05, 0.95])
        bounds = {"lowest": float(low / _MARGIN), "highest": float(high * _MARGIN)}
        if len(height) < _FEWEST:
            return SceneScale(intercept=float(np.median(height)), **bounds)
        unit = float(np.median(height))  # Huber's loss is not scale free
        line = HuberRegressor(alpha=0.0, max_iter=1000).fit(bottom[:, None], height / unit)
        return SceneScale(
            intercept=float(line.intercept_ * unit), slope=float(line.coef_[0] * unit), **bounds
        )

    def person_height(self, bottom: FloatArray, box_height: FloatArray) -> FloatArray:
        """Return the person height ``(N,)`` at rows `bottom` ``(N,)``, all in image heights.

        box_height ``(N,)``: of the boxes themselves, returned where the scene has no scale.
        """
        if not self.lowest > 0:
            return box_height
        line = self.intercept + self.slope * bottom.astype(np.float64)
        return np.clip(line, self.lowest, self.highest).astype(np.float32)


def _observations(image: TrackFeatures) -> Iterable[tuple[float, float, float]]:
    """Yield class, bottom row and height of confident boxes that the image does not cut off."""
    tracks, size = image.tracks, image.image_size[0]
    for box, score, class_id in zip(tracks.boxes, tracks.scores, tracks.class_ids, strict=True):
        whole = box[1] > 1 and box[3] < size - 1
        if whole and score >= _CONFIDENT and class_id != MOVING_OBJECT:
            yield float(class_id), float(box[3]) / size, float(box[3] - box[1]) / size
