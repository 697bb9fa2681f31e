"""The empty square: paving, a house front with shops, trees, benches, lamps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from tao_anomaly.datasets.plaza.camera import GroundCamera
from tao_anomaly.datasets.plaza.drawing import (
    Sprite,
    Stroke,
    cast_shadows,
    draw,
    paste,
    project_strokes,
)
from tao_anomaly.datasets.plaza.figures import box

WALL = 30.0  # m ahead, where the house stands
DOORS = (-9.0, 6.5)  # x of the doors, m
# x, y, radius (m) of what people walk round; the layout is part of the place.
TREES = ((-7.2, 17.2), (1.6, 17.6), (10.4, 17.0))
BENCHES = ((-3.2, 17.3), (6.0, 17.3))
LAMPS = ((-1.2, 16.6), (4.6, 11.2), (-12.5, 27.0), (13.0, 26.5))
PLANTERS = ((-3.6, 28.6), (1.4, 28.6), (11.8, 28.6))
OBSTACLES = np.array(
    [(x, y, 0.45) for x, y in TREES]
    + [(x + dx, y, 0.45) for x, y in BENCHES for dx in (-0.6, 0, 0.6)]
    + [(x, y, 0.2) for x, y in LAMPS]
    + [(x + dx, y, 0.5) for x, y in PLANTERS for dx in (-0.5, 0.5)]
)
_FINE = 2  # sub-pixels a side of the painted planes


@dataclass(frozen=True)
class Scenery:
    """image ``(H, W, 3)`` BGR: the empty square. sprites: what can hide people, farthest first."""

    image: np.ndarray
    sprites: tuple[Sprite, ...]

    @staticmethod
    @lru_cache(maxsize=2)  # clips of one place follow each other
    def build(camera: GroundCamera, *, seed: int) -> Scenery:
        """Paint the square; seed: of its textures and leaves. Nobody may change the result."""
        random = np.random.default_rng([seed, 1])
        image = _planes(camera, random)
        things = sorted(_things(random), key=lambda thing: -thing[0])
        cast_shadows(image, camera, [stroke for _, strokes in things for stroke in strokes])
        drawn = (draw(project_strokes(camera, s), camera, ahead) for ahead, s in things)
        sprites = tuple(sprite for sprite in drawn if sprite is not None)
        for sprite in sprites:
            paste(image, sprite)
        image.setflags(write=False)
        return Scenery(image, sprites)


def _planes(camera: GroundCamera, random: np.random.Generator) -> np.ndarray:
    """Return the ground and the house front ``(H, W, 3)``."""
    fine = (np.arange(camera.height * _FINE) + 0.5) / _FINE - 0.5
    across = (np.arange(camera.width * _FINE) + 0.5) / _FINE - 0.5
    x, y, z = camera.plane(*np.meshgrid(across, fine), wall=WALL)
    texture = random.random((256, 256)).astype(np.float32)
    ground = _paving(x, y, texture, random)
    shown = np.where((y < WALL - 1e-6)[..., None], ground, _house(x, z, texture, random))
    size = (camera.width, camera.height)
    pixels = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _clouds(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return smooth noise -0.5 .. 0.5 at `u`, `v`, one bump a unit."""
    wrapped = [np.ascontiguousarray(np.mod(w + 97, 255), np.float32) for w in (u, v)]
    return np.asarray(cv2.remap(texture, wrapped[0], wrapped[1], cv2.INTER_LINEAR)) - 0.5


def _cells(u: np.ndarray, v: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a value -0.5 .. 0.5 for each cell of one unit."""
    table = random.random((64, 64)) - 0.5
    return table[np.floor(u).astype(int) % 64, np.floor(v).astype(int) % 64]


def _joint(u: np.ndarray, width: float) -> np.ndarray:
    """Return 1 in the joints between units and 0 elsewhere."""
    return (np.abs(u - np.rint(u)) < width).astype(np.float64)


def _paving(
    x: np.ndarray, y: np.ndarray, texture: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    strip = (y > 16.1) & (y < 18.3)
    edge = (np.abs(y - 16.1) < 0.12) | (np.abs(y - 18.3) < 0.12) | (np.abs(y - 27.6) < 0.15)
    u, v = x / 0.8, y / 0.8
    row = np.floor(v)
    u = u + 0.5 * (row % 2)
    shade = 1 + 0.11 * _cells(u, v, random)
    shade -= 0.16 * np.maximum(_joint(u, 0.018), _joint(v, 0.022)) * np.clip(1.4 - y / 26, 0.25, 1)
    small, v_small = x / 0.24, y / 0.24
    cobbles = 1 + 0.2 * _cells(small + 0.5 * (np.floor(v_small) % 2), v_small, random)
    shade = np.where(strip, cobbles, shade)
    for size, strength in ((3.5, 0.10), (0.9, 0.06), (0.12, 0.09)):
        shade = shade * (1 + strength * _clouds(texture, x / size, y / size))
    colour = np.where(strip[..., None], (118.0, 126, 136), (158.0, 168, 174))
    colour = np.where((y > 27.6)[..., None], (138.0, 142, 146), colour)
    colour = np.where(edge[..., None], (112.0, 116, 120), colour)
    drain = (np.abs(y - 13.4) < 0.06) & (np.mod(x, 4) < 3.94)
    colour = np.where(drain[..., None], (96.0, 100, 104), colour)
    return colour * shade[..., None]


def _house(
    x: np.ndarray, z: np.ndarray, texture: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return shops below, brick and windows above, sky over the roof."""
    u, v = x / 0.5, z / 0.16
    u = u + 0.5 * (np.floor(v) % 2)
    brick = 1 + 0.16 * _cells(u, v, random) + 0.1 * _clouds(texture, x / 2, z / 2)
    colour = np.array((82.0, 96, 138)) * brick[..., None]
    gleam = 1 + 0.5 * _clouds(texture, x / 1.1 + z, z / 0.8) + 0.12 * (z - 1)
    glass = np.array((92.0, 84, 72)) * gleam[..., None]
    bay = np.mod(x + 1.25, 4.0)
    pane = (z > 0.55) & (z < 2.7) & (bay > 0.35) & (bay < 3.65)
    frame = (z < 3.0) & ~pane
    bars = pane & (np.abs(np.mod(bay - 0.35, 1.1)) < 0.06)
    colour = np.where(frame[..., None], (74.0, 78, 80), colour)
    colour = np.where(pane[..., None], glass, colour)
    colour = np.where(bars[..., None], (60.0, 62, 64), colour)
    sign = (z >= 3.0) & (z < 3.65)
    tones = random.uniform(45, 150, (16, 1)) + random.uniform(-28, 28, (16, 3))
    signs = tones[np.floor((x + 1.25) / 4).astype(int) % 16]
    colour = np.where(sign[..., None], signs, colour)
    stripe = np.where(np.mod(x, 0.7) < 0.35, 1.0, 0.0)[..., None]
    awning = (
        (z > 2.45) & (z < 3.0) & (bay > 0.2) & (bay < 3.8) & (np.floor((x + 1.25) / 4) % 2 == 0)
    )
    colour = np.where(awning[..., None], stripe * signs + (1 - stripe) * (205.0, 212, 215), colour)
    upper = np.mod(z - 4.4, 3.2)
    window = (z > 4.4) & (upper < 1.8) & (np.mod(x, 2.4) > 0.6) & (np.mod(x, 2.4) < 1.8)
    colour = np.where(window[..., None], (105.0, 95, 80), colour)
    ledge = (z > 3.65) & (z < 3.85)
    colour = np.where(ledge[..., None], (150.0, 160, 168), colour)
    for door in DOORS:
        away = np.abs(x - door)
        colour = np.where(((away < 1.0) & (z < 2.7))[..., None], (160.0, 166, 170), colour)
        colour = np.where(((away < 0.85) & (z < 2.5))[..., None], (48.0, 46, 44), colour)
        colour = np.where(((away < 0.04) & (z < 2.5))[..., None], (120.0, 124, 126), colour)
    return np.where((z > 13.5)[..., None], (226.0, 205, 178), colour)


def _things(random: np.random.Generator) -> list[tuple[float, list[Stroke]]]:
    """Return the strokes of what stands on the square, each with its Y in metres."""
    made = [(y, _moved(_tree(random), x, y)) for x, y in TREES]
    made += [(y, _moved(_bench(), x, y)) for x, y in BENCHES]
    made += [(y, _moved(_lamp(), x, y)) for x, y in LAMPS]
    return made + [(y, _moved(_planter(random), x, y)) for x, y in PLANTERS]


def _moved(strokes: list[Stroke], x: float, y: float) -> list[Stroke]:
    return [s.moved(x, y, 0) for s in strokes]


def _blobs(
    random: np.random.Generator,
    count: int,
    centre: tuple[float, ...],
    spread: tuple[float, ...],
    radius: float,
) -> list[Stroke]:
    """Return leaves: blobs that are brighter where they are higher."""
    made = []
    for _ in range(count):
        offset = random.normal(0, 0.5, 3)
        offset /= max(1, float(np.linalg.norm(offset)))
        light = 1 + 0.38 * offset[2] + 0.22 * offset[0] + random.normal(0, 0.1)
        blue, green, red = (int(np.clip(c * light, 0, 255)) for c in (48, 96, 74))
        place = np.array([centre + offset * spread] * 2)
        made.append(Stroke(place, radius * random.uniform(0.6, 1.2), (blue, green, red)))
    return made


def _tree(random: np.random.Generator) -> list[Stroke]:
    height = random.uniform(4.2, 4.8)
    trunk = np.array([[0, 0, 0], [0.03, 0, height * 0.45], [-0.03, 0, height * 0.8]])
    crown = _blobs(random, 170, (0, 0, height), (1.55, 1.3, 1.15), 0.26)
    return [Stroke(trunk, 0.13, (52, 66, 80)), *crown]


def _bench() -> list[Stroke]:
    wood, iron = (62, 96, 132), (48, 50, 52)
    legs = [
        Stroke(np.array([[x, y, 0], [x, y, 0.45]]), 0.035, iron)
        for x in (-0.75, 0.75)
        for y in (-0.2, 0.2)
    ]
    return (
        legs
        + box((-0.95, -0.25, 0.42), (0.95, 0.25, 0.48), wood)
        + box((-0.95, 0.22, 0.6), (0.95, 0.27, 0.9), wood)
    )


def _lamp() -> list[Stroke]:
    pole = np.array([[0, 0, 0], [0, 0, 4.4]])
    foot = np.array([[0, 0, 0], [0, 0, 0.5]])
    head = np.array([[0, 0, 4.4], [0, 0, 4.6]])
    return [
        Stroke(pole, 0.05, (58, 62, 60)),
        Stroke(foot, 0.1, (52, 56, 54)),
        Stroke(head, 0.2, (190, 205, 210)),
    ]


def _planter(random: np.random.Generator) -> list[Stroke]:
    return box((-1.0, -0.35, 0), (1.0, 0.35, 0.55), (128, 134, 140)) + _blobs(
        random, 60, (0, 0, 0.75), (0.9, 0.25, 0.25), 0.16
    )
