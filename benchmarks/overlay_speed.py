"""How long drawing 20 objects on 1280x720 takes: ``python benchmarks/overlay_speed.py``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tao_anomaly.structures import (
    NANOSECONDS,
    AnomalyEvent,
    AnomalyScores,
    AnomalyState,
    EventPhase,
    Tracks,
)
from tao_anomaly.visualization.history import SceneHistory
from tao_anomaly.visualization.overlay import draw_overlay

SIZE, OBJECTS, IMAGES, RATE = (720, 1280), 20, 400, 30
WARM_UP = 60  # images until trails are full
THRESHOLD = 4.6
STATES = np.repeat([AnomalyState.ANOMALOUS, AnomalyState.NORMAL, AnomalyState.WARMUP], [4, 13, 3])


def scores_of(step: int, start: np.ndarray, velocity: np.ndarray) -> AnomalyScores:
    """Return objects that walk along; four of them are anomalous, three not scored yet."""
    corner = start + velocity * (step % 60)
    boxes = np.concatenate([corner, corner + np.array([50, 130])], axis=1).astype(np.float32)
    values = np.select([STATES == 2, STATES == 1], [5.2, 1.3], np.nan).astype(np.float32)
    zeros = np.zeros(OBJECTS, np.int64)
    ids = tuple(f"0-{i}" for i in range(OBJECTS))
    return AnomalyScores(
        stamp_ns=step * NANOSECONDS // RATE,
        epoch=0,
        image_size=SIZE,
        tracks=Tracks(ids, boxes, np.ones(OBJECTS, np.float32), zeros, zeros, zeros),
        observations=zeros,
        states=STATES.astype(np.int64),
        scores=values,
        raw=values,
        terms=values[:, None],
        term_names=("speed",),
        contributions=values[:, None],
        leading=("speed",) * OBJECTS,
        cues=("3.1x usual speed",) * OBJECTS,
        threshold=THRESHOLD,
        model_id="",
    )


def main() -> None:
    """Print the median time of an image; a busy machine lengthens the first figure."""
    random = np.random.default_rng(0)
    start, velocity = random.uniform([50, 100], [1150, 500], (OBJECTS, 2)), random.normal(0, 4, 2)
    image = np.full((*SIZE, 3), 90, np.uint8)
    history = SceneHistory()
    box = np.zeros(4, np.float32)
    event = AnomalyEvent(EventPhase.START, "0-1/1", "0-1", 0, 0, 0, 5, THRESHOLD, box, "")
    history.take(event)
    seconds = []
    for step in range(IMAGES):
        scores = scores_of(step, start, velocity)
        began = time.perf_counter(), time.process_time()
        history.update(scores)
        draw_overlay(image, scores, {0: "person"}, history)
        seconds.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, processor = 1000 * np.median(seconds[WARM_UP:], axis=0)
    print(
        f"{OBJECTS} objects, {SIZE[1]}x{SIZE[0]}: median {wall:.1f} ms, of which the processor"
        f" {processor:.1f} ms"
    )


if __name__ == "__main__":
    main()
