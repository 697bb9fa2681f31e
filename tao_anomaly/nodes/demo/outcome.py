"""What the graph has found of the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tao_anomaly.config import ScorerConfig
from tao_anomaly.visualization.findings import Finding, find_events
from tao_anomaly.visualization.recording import Recording, recordings_of_results


@dataclass(frozen=True)
class Outcome:
    """An evaluated recording. kinds: results of each kind of anomaly, as the evaluation says."""

    recording: Recording
    kinds: Mapping[str, Mapping[str, Any]]
    events: list[Finding]

    @staticmethod
    def read(results: Path, name: str) -> Outcome:
        """Read the results of an evaluation of one clip."""
        document = json.loads((results / f"{name}.json").read_text("utf-8"))
        (recording,), _ = recordings_of_results(results / name)
        kinds = document["rows"][0]["metrics"].get("kinds", {})
        return Outcome(recording, kinds, find_events(recording, ScorerConfig()))

    def text(self) -> str:
        """Return anomalies, which of them were found and how soon, and false events."""
        lines = [self._line(kind) for kind in sorted(self.kinds, key=self._begin)]
        total = sum(found["tracks"] for found in self.kinds.values())
        alarmed = sum(found["alarmed"] for found in self.kinds.values())
        delays = [found["delay"] for found in self.kinds.values() if found["delay"] is not None]
        false = sum(event.is_labelled is False for event in self.events)
        delay = f", {np.median(delays):.1f} s after they began (median)" if delays else ""
        return "\n".join(
            [
                f"Anomalies in the scene: {total}; found: {alarmed}{delay}.",
                *lines,
                f"Events: {len(self.events)}; false: {false} (no anomaly in any of their boxes).",
            ]
        )

    def _line(self, kind: str) -> str:
        delay = self.kinds[kind]["delay"]
        found = "missed" if delay is None else f"found after {delay:.1f} s"
        name = kind.replace("_", " ")
        return f"  {name:<15} from {self._begin(kind):5.1f} s   {found}"

    def _begin(self, kind: str) -> float:
        """Return when the first anomaly of a kind begins, in seconds of the footage."""
        truth = self.recording.regions
        assert truth is not None
        own = [track for track, name in self.recording.kinds.items() if name == kind]
        first = truth.frames[np.isin(truth.track_ids, own)].min()
        return float(first) / self.recording.rate
