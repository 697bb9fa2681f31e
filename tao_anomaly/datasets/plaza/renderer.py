"""Draws the square at a time: painter's order, soft edges, shadows, light, noise; exact labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tao_anomaly.datasets.plaza.background import Scenery
from tao_anomaly.datasets.plaza.camera import GroundCamera
from tao_anomaly.datasets.plaza.drawing import Sprite, cast_shadows, draw, paste, project_strokes
from tao_anomaly.datasets.plaza.scene import Scene
from tao_anomaly.structures import ImageArray

_NOISE = 2.2  # grey levels
_MIDDLE = 128  # that stands for no noise
_LEAST_SHARE = 0.1  # of an object that must be seen for it to be labelled
_LEAST_PIXELS = 4


@dataclass(frozen=True)
class Rendered:
    """A frame. image ``(H, W, 3)`` BGR. ids ``(H, W)`` uint16: the object seen there, 0 for none.

    A pixel is its object's where that covers at least half of it. An object of which less than a
    tenth (or 4 pixels) is seen has no pixel.
    """

    image: ImageArray
    ids: np.ndarray

    def boxes(self) -> dict[int, tuple[int, int, int, int]]:
        """Return the tight box of each object's visible pixels, x1, y1, x2, y2, inclusive."""
        found = {}
        for number in np.unique(self.ids)[1:] if self.ids.any() else ():
            x, y, width, height = cv2.boundingRect((self.ids == number).astype(np.uint8))
            found[int(number)] = (x, y, x + width - 1, y + height - 1)
        return found


class Renderer:
    """Renders a scene at any time, size and rate; equal scenes give equal pixels."""

    def __init__(self, scene: Scene, *, width: int, height: int) -> None:
        self.scene = scene
        self.camera = GroundCamera(width=width, height=height)
        self._scenery = Scenery.build(self.camera, seed=scene.place)
        random = np.random.default_rng([scene.seed, 7])
        noise = random.normal(0, _NOISE, (height + 61, width + 67, 3))
        self._noise = np.clip(np.rint(noise) + _MIDDLE, 0, 255).astype(np.uint8)
        self._drift = random.uniform(0, 2 * math.pi, 3)

    def render(self, time: float) -> Rendered:
        """Return the frame at `time` (s)."""
        camera = self.camera
        actors = sorted(self.scene.present(time), key=lambda a: -a.place[1])
        image = self._scenery.image.copy()
        cast_shadows(image, camera, [stroke for actor in actors for stroke in actor.strokes])
        ids = np.zeros((camera.height, camera.width), np.uint16)
        full: dict[int, int] = {}
        still = list(self._scenery.sprites)  # the farthest first
        for actor in actors:
            while still and still[0].ahead > actor.place[1]:
                _stand(image, ids, still.pop(0), 0)
            sprite = draw(project_strokes(camera, actor.strokes), camera, actor.place[1])
            if sprite is None:
                continue
            full[actor.track] = _stand(image, ids, sprite, actor.track)
        for sprite in still:
            _stand(image, ids, sprite, 0)
        _drop_hidden(ids, full)
        return Rendered(self._exposed(image, time), ids)

    def _exposed(self, image: np.ndarray, time: float) -> ImageArray:
        """Return the image in the light of `time`, with the noise of a sensor."""
        a, b, c = self._drift
        slow = math.sin(2 * math.pi * time / 90 + a)
        cloud = math.sin(2 * math.pi * time / 23 + b) * math.sin(2 * math.pi * time / 41 + c)
        gain = 1 + 0.05 * slow + 0.035 * cloud
        warm = 0.012 * slow
        levels = np.arange(256)[:, None] * gain * np.array([1 - warm, 1.0, 1 + warm])
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
        lit = cv2.LUT(image, table)
        # Drawn for a time, not for a number of frames: the rate changes no pixel.
        random = np.random.default_rng([self.scene.seed, round(time * 1e6) & 0xFFFFFFFF])
        y, x = random.integers(0, 61), random.integers(0, 67)
        noise = self._noise[y : y + image.shape[0], x : x + image.shape[1]]
        return np.asarray(cv2.addWeighted(lit, 1, noise, 1, -_MIDDLE), np.uint8)


def _stand(image: np.ndarray, ids: np.ndarray, sprite: Sprite, track: int) -> int:
    """Put a sprite and its label in place; return the number of its pixels."""
    cover = paste(image, sprite)
    solid = cover >= 128
    height, width = cover.shape
    ids[sprite.y : sprite.y + height, sprite.x : sprite.x + width][solid] = track
    return int(solid.sum())


def _drop_hidden(ids: np.ndarray, full: dict[int, int]) -> None:
    """Take the labels off objects of which too little is seen."""
    seen = np.bincount(ids.ravel(), minlength=1)
    for track, pixels in full.items():
        visible = int(seen[track]) if track < len(seen) else 0
        if 0 < visible < max(_LEAST_PIXELS, _LEAST_SHARE * pixels):
            ids[ids == track] = 0
