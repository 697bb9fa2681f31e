"""Clips through detection, tracking and features into a feature store, once, and resumable."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tao_anomaly.config import PipelineConfig, portable_settings
from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.detection.detector import Detector, Found
from tao_anomaly.media.clip_file import ClipInfo, StoreError
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.media.source import SourceError, open_source
from tao_anomaly.pipeline import Perception
from tao_anomaly.structures import Frame

log = logging.getLogger(__name__)

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class ClipTask:
    """One clip to extract: what a worker needs to know of it."""

    dataset: str
    clip: str
    split: str
    source: str
    rate: float | None
    topic: str | None

    @staticmethod
    def of(dataset: str, clip: Clip) -> ClipTask:
        """Return the task of a dataset's clip."""
        source = str(clip.source.resolve())
        return ClipTask(dataset, clip.name, clip.split, source, clip.stated_rate, clip.topic)


@dataclass(frozen=True)
class ClipResult:
    """What became of a clip: frames and objects stored, or the error that ended it."""

    name: str
    frames: int = 0
    objects: int = 0
    error: str = ""


class ClipExtractor:
    """Extracts clip after clip; holds the detector, and begins each clip with fresh state.

    So a clip's features depend on the clip alone, not on the worker or the order.
    """

    def __init__(self, folder: str, config: PipelineConfig, precision: str, batch: int = 1) -> None:
        self.store = FeatureStore(folder)
        self.config = config
        self.precision = precision
        self.batch = batch
        self.detector = Detector.from_config(config.detector)

    def perception(self) -> Perception:
        """Return fresh stages for a clip."""
        return Perception.from_config(self.config, detector=self.detector)

    def extract(self, task: ClipTask, on_frame: Callable[[], object] = lambda: None) -> ClipResult:
        """Extract one clip into its file; `on_frame` is called after each image."""
        name = f"{task.dataset}/{task.clip}"
        try:
            return self._extract(name, task, on_frame)
        except (SourceError, StoreError, OSError) as error:
            return ClipResult(name, error=str(error))

    def _extract(self, name: str, task: ClipTask, on_frame: Callable[[], object]) -> ClipResult:
        source = open_source(task.source, rate=task.rate, topic=task.topic)
        perception = self.perception()
        objects = 0
        info = ClipInfo(
            dataset=task.dataset,
            clip=task.clip,
            split=task.split,
            rate=source.rate,
            feature_id=perception.feature_id,
            layout=perception.layout,
            precision=self.precision,
            settings=perception_settings(self.config),
            class_names=perception.class_names,
        )
        with self.store.writer(info) as writer:
            for frame, found in self._look_ahead(source):
                features = perception.process(frame, found)
                if features is not None:
                    writer.add(frame.index, features)
                    objects += len(features.tracks)
                on_frame()
            unreadable = {"unreadable image": source.skipped} if source.skipped else {}
            writer.skip({**perception.skipped, **unreadable})
        return ClipResult(name, frames=writer.info.frames, objects=objects)

    def _look_ahead(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Found | None]]:
        """Yield each image with what the detector finds in it, run on `batch` of them at once."""
        if self.batch == 1:
            yield from ((frame, None) for frame in frames)
            return
        remaining = iter(frames)
        while group := list(islice(remaining, self.batch)):
            found = iter(self.detector.detect_all([f.image for f in group if f.image.size]))
            yield from ((frame, next(found) if frame.image.size else None) for frame in group)


def perception_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that features and tracks depend on; not those of the machine."""
    settings = portable_settings(config)
    return {stage: settings[stage] for stage in ("detector", "tracker", "features")}


def extract_clips(
    folder: str | Path,
    clips: Sequence[tuple[str, Clip]],
    *,
    config: PipelineConfig,
    precision: str,
    batch: int = 1,
    engine: str = "local",
    workers: int = 1,
    ray_address: str = "",
) -> FeatureStore:
    """Extract those `clips` (dataset name and clip) that the store in `folder` does not hold yet.

    batch: images of a clip that the detector sees at once; tracking takes one after the other.
    Raises FeatureMismatchError or StoreError, before any work, where the store was made otherwise,
    and StoreError at the end for clips that could not be read; the others are stored then.
    """
    extractor = ClipExtractor(str(folder), config, precision, batch)
    store = extractor.store
    store.require(extractor.perception().feature_id)
    store.require_settings(perception_settings(config), precision)
    store.remove_unfinished()
    held = set(store.clips())
    pending = [(name, clip) for name, clip in clips if f"{name}/{clip.name}" not in held]
    log.info("%d clips stored before, %d to extract", len(clips) - len(pending), len(pending))
    tasks = [ClipTask.of(name, clip) for name, clip in pending]
    total = sum(clip.frame_count for _, clip in pending)
    with tqdm(total=total, unit="frame", mininterval=1.0, disable=None if tasks else True) as bar:
        results = _results(extractor, tasks, bar, engine, workers, ray_address)
        failed = [result for result in results if _note(result, bar).error]
    if failed:
        listed = "; ".join(f"{result.name}: {result.error}" for result in failed)
        raise StoreError(f"{len(failed)} clips could not be extracted: {listed}")
    return FeatureStore(folder)


def _note(result: ClipResult, bar: tqdm) -> ClipResult:
    if result.error:
        log.error("%s: %s", result.name, result.error)
    bar.set_postfix_str(f"{result.name}: {result.frames} frames, {result.objects} objects")
    return result


def _results(
    extractor: ClipExtractor,
    tasks: list[ClipTask],
    bar: tqdm,
    engine: str,
    workers: int,
    ray_address: str,
) -> Iterator[ClipResult]:
    """Yield the result of each task as it is done, the bar moved on by its frames."""
    if engine not in ENGINES:
        raise StoreError(f"got engine {engine!r}, expected one of {', '.join(ENGINES)}")
    workers = min(max(1, workers), max(1, len(tasks)))
    if engine == "local" and workers == 1:
        yield from (extractor.extract(task, bar.update) for task in tasks)
        return
    settings = (
        str(extractor.store.folder.resolve()),
        extractor.config,
        extractor.precision,
        extractor.batch,
    )
    spread = _over_processes if engine == "local" else _over_ray(ray_address)
    for result in spread(settings, tasks, workers):
        bar.update(result.frames)
        yield result


Settings = tuple[str, PipelineConfig, str, int]

_worker: ClipExtractor | None = None


def _start_worker(*settings: Any) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = ClipExtractor(*settings)


def _end_with_parent() -> None:
    """End this process when the one that started it is killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: ClipTask) -> ClipResult:
    assert _worker is not None
    return _worker.extract(task)


def _over_processes(
    settings: Settings, tasks: list[ClipTask], workers: int
) -> Iterator[ClipResult]:
    # A forked process would inherit the threads of torch half alive.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=settings
    ) as pool:
        for future in as_completed([pool.submit(_work, task) for task in tasks]):
            yield future.result()


class _RayWorker:
    """A clip extractor as an actor of Ray Data: a row is a clip."""

    def __init__(self, *settings: Any) -> None:
        self._extractor = ClipExtractor(*settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return asdict(self._extractor.extract(ClipTask(**row)))


def _over_ray(
    address: str,
) -> Callable[[Settings, list[ClipTask], int], Iterator[ClipResult]]:
    """Return the spread by Ray Data, an actor a worker; the store must be a folder all reach."""

    def spread(settings: Settings, tasks: list[ClipTask], workers: int) -> Iterator[ClipResult]:
        with _ray(address, workers) as ray:
            gpus = 1 if settings[1].detector.device.startswith("cuda") else 0
            rows = ray.data.from_items(
                [asdict(task) for task in tasks], override_num_blocks=len(tasks)
            ).map(
                _RayWorker,
                fn_constructor_args=settings,
                concurrency=workers,
                num_cpus=1,
                num_gpus=gpus,
            )
            yield from (ClipResult(**row) for row in rows.iter_rows())

    return spread


@contextmanager
def _ray(address: str, workers: int) -> Iterator[Any]:
    """Connect to the cluster at `address`, or start a local one for the time of the context."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise StoreError(
            f"engine ray: {error}; install what requirements/training.txt lists, or set"
            " engine=local"
        ) from error
    local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    ray.init(**({"address": address} if address else local), log_to_driver=bool(address))
    ray.data.DataContext.get_current().enable_progress_bars = False  # there is one already
    try:
        yield ray
    finally:
        ray.shutdown()
