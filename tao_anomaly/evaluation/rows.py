"""The rows of the table: who scores each test clip, and under which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tao_anomaly.config import WindowConfig
from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.evaluation.baselines import Baseline
from tao_anomaly.evaluation.features import ClipFeatures
from tao_anomaly.evaluation.scored_clip import ScoredClip, clip_of_scores, smoothed_offline
from tao_anomaly.scoring.fitting import windows_of
from tao_anomaly.scoring.scorer import Scorer

OWN, BASELINE, ORACLE = "own", "baseline", "oracle"


@dataclass(frozen=True)
class Row:
    """A method. group: OWN, BASELINE or ORACLE. note: what its scores are."""

    name: str
    group: str
    note: str
    causal: bool = True


class Contributor(Protocol):
    """Scores clips for one or several rows."""

    rows: tuple[Row, ...]

    def score(self, clip: Clip, features: ClipFeatures | None) -> dict[str, ScoredClip]:
        """Return the scored clip of each of its rows, by the row's name."""
        ...


class ModelRows:
    """A scorer on stored features: causally, and if asked smoothed offline as a row of its own."""

    def __init__(
        self, *, name: str, group: str, scorer: Scorer, windows: WindowConfig, offline: bool
    ) -> None:
        self._scorer = scorer
        self._windows = windows
        self._seconds = scorer.config.smoothing
        terms = " + ".join(scorer.calibration.term_names)
        smoothing = f"moving average over {self._seconds:g} s" if self._seconds else "not smoothed"
        self.rows: tuple[Row, ...] = (Row(name, group, f"{terms}, {smoothing}"),)
        if offline:
            note = f"{terms}, Gaussian over past and future, {self._seconds:g} s"
            self.rows += (Row(f"{name}, offline smoothing", group, note, causal=False),)

    def score(self, clip: Clip, features: ClipFeatures | None) -> dict[str, ScoredClip]:
        """Return the scored clip of both rows; the clip begins with fresh state."""
        assert features is not None
        self._scorer.reset()
        images = [self._scorer.update(cut) for cut in windows_of(features.images, self._windows)]
        found = [clip_of_scores(features.frames, images)]
        if len(self.rows) > 1:
            found.append(
                smoothed_offline(features.frames, images, seconds=self._seconds, rate=features.rate)
            )
        return {row.name: scored for row, scored in zip(self.rows, found, strict=True)}


class BaselineRows:
    """Baselines or oracles on stored features."""

    def __init__(self, baselines: Sequence[Baseline], *, group: str) -> None:
        self._baselines = baselines
        self.rows = tuple(Row(baseline.name, group, baseline.note) for baseline in baselines)

    def score(self, clip: Clip, features: ClipFeatures | None) -> dict[str, ScoredClip]:
        """Return the scored clip of every baseline."""
        assert features is not None
        return {baseline.name: baseline.score(features) for baseline in self._baselines}


class GivenRows:
    """Predictions that were made elsewhere."""

    def __init__(self, clips: Mapping[str, ScoredClip], *, name: str, note: str) -> None:
        self._clips = clips
        self.rows: tuple[Row, ...] = (Row(name, OWN, note),)

    def score(self, clip: Clip, features: ClipFeatures | None) -> dict[str, ScoredClip]:
        """Return the clip's prediction."""
        return {self.rows[0].name: self._clips[clip.name]}
