from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tao_anomaly.structures import NANOSECONDS, AnomalyScores, AnomalyState, TrackFeatures

MakeScores = Callable[..., AnomalyScores]


@pytest.fixture
def make_scores(make_features: Callable[..., TrackFeatures]) -> MakeScores:
    """Build scores of objects given as (box, state, score), tracks 0-0, 0-1, and so on."""

    def make(
        *objects: tuple[Sequence[float], AnomalyState, float],
        seconds: float = 0.0,
        size: tuple[int, int] = (480, 640),
        cue: str = "3.1x usual speed",
        threshold: float = 2.0,
        epoch: int = 0,
    ) -> AnomalyScores:
        names = {f"{epoch}-{i}": [0] * 3 for i in range(len(objects))}
        features = make_features(0, names, boxes=[box for box, _, _ in objects])
        values = np.array([score for _, _, score in objects], np.float32)
        count = len(objects)
        return AnomalyScores(
            stamp_ns=round(seconds * NANOSECONDS),
            epoch=epoch,
            image_size=size,
            tracks=features.tracks,
            observations=np.zeros(count, np.int64),
            states=np.array([state for _, state, _ in objects], np.int64),
            scores=values,
            raw=values,
            terms=np.zeros((count, 1), np.float32),
            term_names=("speed",),
            contributions=values[:, None],
            leading=("speed",) * count,
            cues=(cue,) * count,
            threshold=threshold,
            model_id="m",
        )

    return make
