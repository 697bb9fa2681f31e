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


@dataclass(frozen=True)
class Projected:
    """Strokes as a camera sees them.

    points ``(P, 3)``: x, y and pixels a metre of the points of all strokes, one after the other.
    rows: first and past the last of each stroke's. scales: mean pixels a metre of each stroke.
    """

    strokes: list[Stroke]
    points: np.ndarray
    rows: list[tuple[int, int]]
    scales: list[float]

    @property
    def radii(self) -> np.ndarray:
        """The radius ``(P, 1)`` of each point's stroke."""
        counts = [end - start for start, end in self.rows]
        return np.repeat([stroke.radius for stroke in self.strokes], counts)[:, None]


def project_strokes(
    camera: GroundCamera, strokes: list[Stroke], points: np.ndarray | None = None
) -> Projected:
    """Return strokes, at least one, in the image; points ``(P, 3)``: m, in place of their own."""
    ends = np.cumsum([len(stroke.points) for stroke in strokes])
    starts = np.concatenate([[0], ends[:-1]])
    flat = camera.project(_points(strokes) if points is None else points)
    scales = np.add.reduceat(flat[:, 2], starts) / (ends - starts)
    rows = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return Projected(strokes, flat, rows, scales.tolist())


def draw(flat: Projected, camera: GroundCamera, ahead: float) -> Sprite | None:
    """Draw an object's strokes, the farthest first; None where it is not in view."""
    places, radii = flat.points[:, :2], flat.radii
    reach = float((radii * flat.points[:, 2:]).max()) + 2
    limits = np.array([camera.width, camera.height])
    low = np.clip(np.floor(places.min(axis=0) - reach), 0, limits).astype(int)
    high = np.clip(np.ceil(places.max(axis=0) + reach), 0, limits).astype(int)
    if (high <= low).any():
        return None
    width, height = high - low
    patch = np.zeros((height * _FINE, width * _FINE, 4), np.uint8)
    corners = _corners(places, low, _FINE)
    sides = _corners(places + np.array([0.35, -0.3]) * radii * flat.points[:, 2:], low, _FINE)
    # The nearer is larger: pixels a metre order the strokes by depth.
    for index in sorted(range(len(flat.strokes)), key=flat.scales.__getitem__):
        stroke, scale, part = flat.strokes[index], flat.scales[index], slice(*flat.rows[index])
        _draw_stroke(patch, corners[part], stroke.radius * scale * _FINE, (*stroke.colour, 255))
        if stroke.radius:
            lit = tuple(min(255, int(c * 1.18 + 8)) for c in stroke.colour)
            _draw_stroke(patch, sides[part], stroke.radius * 0.5 * scale * _FINE, (*lit, 255))
    small = cv2.resize(patch, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    return Sprite(small, int(low[0]), int(low[1]), ahead)


def _points(strokes: list[Stroke]) -> np.ndarray:
    return np.concatenate([stroke.points for stroke in strokes])


def _corners(places: np.ndarray, origin: np.ndarray, fine: int) -> np.ndarray:
    """Return points ``(P, 2)`` in pixels of the image as OpenCV's of a patch of `fine` ones."""
    scaled = ((places - origin + 0.5) * fine - 0.5) * (1 << _SHIFT)
    return np.asarray(np.rint(scaled).astype(np.int32))


def _draw_stroke(patch: np.ndarray, corners: np.ndarray, radius: float, colour: object) -> None:
    """Draw a line of a radius in pixels of the patch, or for 0 a filled face."""
    if not radius:
        cv2.fillConvexPoly(patch, corners, colour, cv2.LINE_8, _SHIFT)  # type: ignore[call-overload]
        return
    thickness = max(1, round(2 * radius))
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
    if not strokes:
        return
    points = _points(strokes)
    points[:, :2] += points[:, 2:] * _SUN
    points[:, 2] = 0
    flat = project_strokes(camera, strokes, points)
    shadow = np.zeros(image.shape[:2], np.uint8)
    corners = _corners(flat.points[:, :2], np.zeros(2), 1)
    for stroke, scale, (start, end) in zip(strokes, flat.scales, flat.rows, strict=True):
        _draw_stroke(shadow, corners[start:end], stroke.radius * scale, 255)
    x, y, width, height = cv2.boundingRect(shadow)
    if not width:
        return
    rows, columns = slice(max(y - 4, 0), y + height + 4), slice(max(x - 4, 0), x + width + 4)
    sigma = max(_EDGE * camera.focal / 16, 0.5)
    soft = cv2.GaussianBlur(shadow[rows, columns], (0, 0), sigma)
    light = cv2.merge([cv2.convertScaleAbs(soft, alpha=-share, beta=255) for share in _SHADE])
    cv2.multiply(image[rows, columns], light, dst=image[rows, columns], scale=1 / 255)
