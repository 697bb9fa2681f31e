"""Images of Plaza with the boxes of all objects, in the layout that YOLOv8's trainer reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from tao_anomaly.datasets.plaza.renderer import Rendered, Renderer
from tao_anomaly.datasets.plaza.routes import KINDS
from tao_anomaly.datasets.plaza.scene import Scene
from tao_anomaly.structures import FloatArray, IntArray

CLASS_NAMES = {0: "person", 1: "bicycle", 2: "cart", 3: "suitcase", 4: "ball"}
SEEDS = {"train": 1 << 40, "val": 1 << 41}  # of the first scene: beyond all of generated folders
PLACES = {"train": 16, "val": 4}  # squares in turn
SECONDS = 36.0  # of a scene, in which each kind of anomaly comes once
IMAGES = 20  # of a scene
DENSITIES = (4.0, 8.0, 12.0, 16.0, 24.0)  # people on the square, in turn
SIZE = 640, 360  # pixels
_CLASSES = {name: index for index, name in CLASS_NAMES.items()}
_QUALITY = 90  # of JPEG


def split_scenes(split: str) -> Iterator[Scene]:
    """Yield the scenes of ``train`` or ``val`` without end; the two share none."""
    number = 0
    while True:
        place = number % PLACES[split] + (0 if split == "train" else PLACES["train"])
        yield Scene.build(
            seed=SEEDS[split] + number,
            seconds=SECONDS,
            density=DENSITIES[number % len(DENSITIES)],
            kinds=np.random.default_rng([number, 11]).permutation(KINDS).tolist(),
            place=place,
        )
        number += 1


def write_images(dataset: Path, count: int) -> None:
    """Write `count` images of ``train`` to ``images/`` and their boxes to ``labels/``."""
    images, labels = dataset / "images", dataset / "labels"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    found = labelled_images("train")
    for number in tqdm(range(count), unit="img"):
        rendered, categories = next(found)
        path = images / f"{number:06d}.jpg"
        if not cv2.imwrite(str(path), rendered.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
            raise OSError(f"{path}: cannot be written; is the disk full?")
        rows = label_rows(rendered, categories)
        (labels / f"{number:06d}.txt").write_text(rows, "utf-8")


def labelled_images(split: str) -> Iterator[tuple[Rendered, dict[int, str]]]:
    """Yield images of the scenes of a split, and the category of each object number."""
    for scene in split_scenes(split):
        renderer = Renderer(scene, width=SIZE[0], height=SIZE[1])
        categories = {actor.track: actor.category for actor in scene.actors}
        moments = np.random.default_rng([scene.seed, 13]).uniform(0, SECONDS, IMAGES)
        for time in np.sort(moments).tolist():
            yield renderer.render(time), categories


def objects(rendered: Rendered, categories: dict[int, str]) -> tuple[FloatArray, IntArray]:
    """Return boxes ``(M, 4)`` in pixels, x1, y1, x2, y2, and classes ``(M,)`` of an image."""
    found = rendered.boxes()
    boxes = np.array(list(found.values()), np.float32).reshape(-1, 4)
    boxes[:, 2:] += 1  # pixels are inclusive
    return boxes, np.array([_CLASSES[categories[track]] for track in found], np.int64)


def label_rows(rendered: Rendered, categories: dict[int, str]) -> str:
    """Return a line an object: class, centre and size in shares of the image."""
    boxes, classes = objects(rendered, categories)
    height, width = rendered.ids.shape
    corners = boxes / [width, height, width, height]
    centres, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    rows = np.concatenate([centres, sizes], axis=1)
    return "".join(
        f"{label} {' '.join(f'{value:.6f}' for value in row)}\n"
        for label, row in zip(classes.tolist(), rows.tolist(), strict=True)
    )
