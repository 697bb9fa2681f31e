"""Strokes of the world drawn with soft edges, pasted over an image, and their shadows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tao_anomaly.datasets.plaza.camera import GroundCamera

Colour = tuple[int, int, int]  # BGR
_FINE = 3  # sub-pixels a side
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_SUN = np.array([-0.62, -0.42])  # m of shadow for each m of height
_SHADE = np.array([0.36, 0.44, 0.48])  # share of light a shadow takes; the sky lends it some blue
_EDGE = 0.03  # m, how soft a shadow's edge is


@dataclass(frozen=True)
class Stroke:
    """A line of round ends, or a face. points ``(K, 3)``: m. radius: m, 0 for a filled face."""

    points: np.ndarray
    radius: float
    colour: Colour

    def moved(self, x: float, y: float, z: float) -> Stroke:
        """Return the stroke elsewhere; x, y, z: m."""
        return Stroke(self.points + np.array([x, y, z]), self.radius, self.colour)


@dataclass(frozen=True)
class Sprite:
    """A drawn object: premultiplied BGR and cover 0 .. 255, ``(h, w, 4)``, its place in the image.

    ahead: Y of its foot, m.
    """

    pixels: np.ndarray
    x: int
    y: int
    ahead: float


def project_strokes(camera: GroundCamera, strokes: list[Stroke]) -> list[tuple[Stroke, np.ndarray]]:
    """Return each stroke with its points as ``(K, 3)``: x, y and pixels a metre."""
    if not strokes:
        return []
    flat = camera.project(np.concatenate([stroke.points for stroke in strokes]))
    ends = np.cumsum([len(stroke.points) for stroke in strokes]).tolist()
    starts = [0, *ends[:-1]]
    # Not np.split, which takes longer than the projection.
    return [(s, flat[a:b]) for s, a, b in zip(strokes, starts, ends, strict=True)]


def draw(
    flat: list[tuple[Stroke, np.ndarray]], camera: GroundCamera, ahead: float
) -> Sprite | None:
    """Draw an object's strokes, the farthest first; None where it is not in view."""
    points = np.concatenate([pixels for _, pixels in flat])
    reach = max(s.radius * float(p[:, 2].max()) for s, p in flat) + 2
    limits = np.array([camera.width, camera.height])
    low = np.clip(np.floor(points[:, :2].min(axis=0) - reach), 0, limits).astype(int)
    high = np.clip(np.ceil(points[:, :2].max(axis=0) + reach), 0, limits).astype(int)
    if (high <= low).any():
        return None
    width, height = high - low
    patch = np.zeros((height * _FINE, width * _FINE, 4), np.uint8)
    # The nearer is larger: pixels a metre order the strokes by depth.
    for stroke, pixels in sorted(flat, key=lambda part: float(part[1][:, 2].mean())):
        _draw_stroke(patch, stroke, pixels, low, _FINE, (*stroke.colour, 255))
        if stroke.radius:
            lit = tuple(min(255, int(c * 1.18 + 8)) for c in stroke.colour)
            side = pixels.copy()
            side[:, :2] += np.array([0.35, -0.3]) * stroke.radius * pixels[:, 2:]
            half = Stroke(stroke.points, stroke.radius * 0.5, stroke.colour)
            _draw_stroke(patch, half, side, low, _FINE, (*lit, 255))
    small = cv2.resize(patch, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    return Sprite(small, int(low[0]), int(low[1]), ahead)


def _draw_stroke(
    patch: np.ndarray,
    stroke: Stroke,
    pixels: np.ndarray,
    origin: np.ndarray,
    fine: int,
    colour: object,
) -> None:
    places = ((pixels[:, :2] - origin + 0.5) * fine - 0.5) * (1 << _SHIFT)
    corners = np.rint(places).astype(np.int32)
    if not stroke.radius:
        cv2.fillConvexPoly(patch, corners, colour, cv2.LINE_8, _SHIFT)  # type: ignore[call-overload]
        return
    thickness = max(1, round(2 * stroke.radius * float(pixels[:, 2].mean()) * fine))
    cv2.polylines(patch, [corners], False, colour, thickness, cv2.LINE_8, _SHIFT)  # type: ignore[call-overload]


def paste(image: np.ndarray, sprite: Sprite) -> np.ndarray:
    """Put a sprite over the image and return its cover ``(h, w)``, 0 .. 255."""
    height, width = sprite.pixels.shape[:2]
    part = image[sprite.y : sprite.y + height, sprite.x : sprite.x + width]
    cover = sprite.pixels[..., 3]
    rest = cv2.merge([255 - cover] * 3)
    cv2.multiply(part, rest, dst=part, scale=1 / 255)
    cv2.add(part, sprite.pixels[..., :3], dst=part)
    return cover


def cast_shadows(image: np.ndarray, camera: GroundCamera, strokes: list[Stroke]) -> None:
    """Darken the ground of `image` where `strokes` stand in the sun."""
    flat = []
    for stroke in strokes:
        points = stroke.points.copy()
        points[:, :2] += points[:, 2:] * _SUN
        points[:, 2] = 0
        flat.append(Stroke(points, stroke.radius, stroke.colour))
    shadow = np.zeros(image.shape[:2], np.uint8)
    for stroke, pixels in project_strokes(camera, flat):
        _draw_stroke(shadow, stroke, pixels, np.zeros(2), 1, 255)
    x, y, width, height = cv2.boundingRect(shadow)
    if not width:
        return
    rows, columns = slice(max(y - 4, 0), y + height + 4), slice(max(x - 4, 0), x + width + 4)
    sigma = max(_EDGE * camera.focal / 16, 0.5)
    soft = cv2.GaussianBlur(shadow[rows, columns], (0, 0), sigma)
    light = cv2.merge([cv2.convertScaleAbs(soft, alpha=-share, beta=255) for share in _SHADE])
    cv2.multiply(image[rows, columns], light, dst=image[rows, columns], scale=1 / 255)
