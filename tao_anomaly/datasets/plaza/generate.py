"""Films scenes into a folder: videos, masks, tracks and ``plaza.yaml``, which `dataset` reads."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from tao_anomaly.config import setting
from tao_anomaly.datasets.dataset import TEST, TRAIN, DatasetError
from tao_anomaly.datasets.ground_truth import region_tracks, write_region_tracks
from tao_anomaly.datasets.plaza.dataset import (
    DESCRIPTION,
    FORMAT,
    mask_file,
    objects_file,
    tracks_file,
    video_file,
)
from tao_anomaly.datasets.plaza.renderer import Rendered, Renderer
from tao_anomaly.datasets.plaza.routes import KINDS
from tao_anomaly.datasets.plaza.scene import Scene
from tao_anomaly.media.video_writer import VideoWriter

Entry: TypeAlias = dict[str, Any]  # of a clip in ``plaza.yaml``


@dataclass
class PlazaConfig:
    """Settings of the command."""

    output: str = setting("", "folder to make; it must not exist")
    train_clips: int = setting(6, "clips of normal footage", minimum=0)
    test_clips: int = setting(6, "clips with anomalies", minimum=0)
    anomalies: int = setting(3, "anomalies of each test clip; the kinds take turns", minimum=1)
    seconds: float = setting(40.0, "length of a clip", minimum=1)
    test_seconds: float = setting(0.0, "length of a test clip; 0: as all", minimum=0)
    rate: float = setting(25.0, "frames a second", minimum=1)
    width: int = setting(640, "pixels, even", minimum=64)
    height: int = setting(360, "pixels, even", minimum=64)
    density: float = setting(12.0, "people on the square on average", minimum=0)
    seed: int = setting(0, "of people and light; the same seed gives the same pixels", minimum=0)
    place: int = setting(0, "seed of the square's textures", minimum=0)
    workers: int = setting(1, "processes, a clip each at a time", minimum=1)


def scenes(config: PlazaConfig) -> Iterator[tuple[str, str, Scene]]:
    """Yield name, split and scene of each clip."""
    clips = [(TRAIN, number) for number in range(config.train_clips)]
    clips += [(TEST, number) for number in range(config.test_clips)]
    for seed, (split, number) in enumerate(clips):
        first = number * config.anomalies
        turns = range(first, first + config.anomalies) if split == TEST else ()
        scene = Scene.build(
            # Far apart, so that the clips of successive seeds share no scene.
            seed=config.seed * 100_003 + seed,
            seconds=config.test_seconds or config.seconds if split == TEST else config.seconds,
            density=config.density,
            kinds=[KINDS[turn % len(KINDS)] for turn in turns],
            place=config.place,
        )
        yield f"{split}_{number + 1:03d}", split, scene


def generate(config: PlazaConfig) -> None:
    """Make the folder ``output``, complete or not at all; raises DatasetError or OSError."""
    output = Path(config.output).expanduser()
    if not config.output or output.exists():
        got = f"{output}, which exists" if config.output else "none"
        raise DatasetError(f"output: got {got}; expected a folder to be made")
    if config.width % 2 or config.height % 2:
        raise DatasetError(
            f"got {config.width}x{config.height} pixels, expected even numbers: videos need them"
        )
    if config.train_clips + config.test_clips == 0:
        raise DatasetError("got no clips; expected train_clips or test_clips above 0")
    made = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    clips = list(scenes(config))
    try:
        with tqdm(total=sum(_length(scene, config) for *_, scene in clips), unit="img") as bar:
            entries = list(_filmed(made, clips, config, bar))
        settings = asdict(config)
        for machine in ("output", "workers"):
            del settings[machine]
        document = {"format": FORMAT, "settings": settings, "clips": entries}
        (made / DESCRIPTION).write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
        made.rename(output)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _length(scene: Scene, config: PlazaConfig) -> int:
    """Return the frames of a scene's film."""
    return round(scene.seconds * config.rate)


def _filmed(
    root: Path, clips: list[tuple[str, str, Scene]], config: PlazaConfig, bar: tqdm[Any]
) -> Iterator[Entry]:
    """Write the clips and yield their entries, in order."""
    if config.workers == 1:
        for name, split, scene in clips:
            bar.set_description(name)
            yield _film(root, name, split, scene, config, bar)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, mp_context=context) as pool:
        films = [pool.submit(_film, root, *clip, config) for clip in clips]
        try:
            for film in films:
                entry = film.result()
                bar.update(entry["frames"])
                yield entry
        finally:
            pool.shutdown(cancel_futures=True)


def _film(
    root: Path,
    name: str,
    split: str,
    scene: Scene,
    config: PlazaConfig,
    bar: tqdm[Any] | None = None,
) -> Entry:
    """Write one clip and return its entry in ``plaza.yaml``."""
    renderer = Renderer(scene, width=config.width, height=config.height)
    actors = {actor.track: actor for actor in scene.actors}
    objects: list[tuple[float, ...]] = []
    anomalous: list[tuple[float, ...]] = []
    mask_file(root, name, 0).parent.mkdir(parents=True)
    count = _length(scene, config)
    with VideoWriter(video_file(root, name), rate=config.rate) as video:
        for frame in range(count):
            time = frame / config.rate
            rendered = renderer.render(time)
            video.write(rendered.image)
            _write_mask(mask_file(root, name, frame), rendered)
            rows = [(track, frame, *box) for track, box in rendered.boxes().items()]
            objects += rows
            anomalous += [row for row in rows if time >= actors[int(row[0])].anomalous_from]
            if bar is not None:
                bar.update()
    write_region_tracks(objects_file(root, name), region_tracks(sorted(objects)))
    write_region_tracks(tracks_file(root, name), region_tracks(sorted(anomalous)))
    seen = sorted({int(row[0]) for row in objects})
    odd = {int(row[0]) for row in anomalous}
    return {
        "name": name,
        "split": split,
        "frames": count,
        "categories": {track: actors[track].category for track in seen},
        "kinds": {track: actors[track].kind for track in seen if track in odd},
    }


def _write_mask(path: Path, rendered: Rendered) -> None:
    ids = rendered.ids.astype(np.uint8) if rendered.ids.max() < 256 else rendered.ids
    if not cv2.imwrite(str(path), ids, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"{path}: cannot be written; is the disk full?")
