"""Every metric of every row, over all test clips together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.evaluation.pixel_map import FadingBox, Outliner, score_map
from tao_anomaly.evaluation.scored_clip import ScoredClip
from tao_anomaly.metrics.by_kind import kind_results
from tao_anomaly.metrics.frame import frame_metrics
from tao_anomaly.metrics.operating_point import OperatingPoint, region_f1, track_f1
from tao_anomaly.metrics.pixel import PixelAccumulator
from tao_anomaly.metrics.region_track import region_track_curves
from tao_anomaly.metrics.regions import ScoredBoxes
from tao_anomaly.metrics.tao_pixel import TaoPixelAccumulator
from tao_anomaly.structures import BoolArray

Scored = Mapping[str, ScoredClip]  # by clip
Json = dict[str, Any]
_LEVELS = 2**16  # of the pixel histograms: 15 MB a row
_RAISED = 0.5  # between the scores 0 and 1 that stand for a box's state


class PixelRows:
    """Pixel metrics of several rows, fed clip by clip: an image and its mask are read once.

    The rows of `outlined` are drawn by `outliner`, all others as fading boxes.
    """

    def __init__(
        self, rows: Sequence[str], *, outliner: Outliner, outlined: Sequence[str] = ()
    ) -> None:
        self._outliner = outliner
        self._outliners = {row: outliner if row in outlined else FadingBox() for row in rows}
        self._honest = {row: PixelAccumulator(max_levels=_LEVELS) for row in rows}
        self._tao = {row: TaoPixelAccumulator() for row in rows}
        self.frames = self.anomalous_frames = 0

    def update(self, clip: Clip, rows: Mapping[str, ScoredClip]) -> None:
        """Add a clip, if it has pixel labels."""
        masks = clip.masks()
        if masks is None:
            return
        size = frame_size(clip)
        boxes = {
            row: _by_frame(scored.detections, clip.frame_count) for row, scored in rows.items()
        }
        for number, mask in enumerate(self._seen(clip, masks)):
            if mask is not None and mask.shape != size:
                raise ValueError(
                    f"clip {clip.name}: got a mask of {mask.shape} (H, W) in frame {number} for"
                    f" images of {size}; both must be as released, fetch the dataset again"
                )
            self.frames += 1
            self.anomalous_frames += mask is not None
            for row, frames in boxes.items():
                self._add(row, frames[number], size, mask)

    def compute(self) -> dict[str, Json]:
        """Return ``pixel`` and ``pixel_tao`` by row; null where a class of pixels is missing."""
        if not self.anomalous_frames:
            return {row: {"pixel": None, "pixel_tao": None} for row in self._honest}
        results = {}
        for row, accumulator in self._honest.items():
            found = accumulator.compute()
            names = (
                "auroc",
                "average_precision",
                "f1_max",
                "aupro",
                "auroc_error",
                "aupro_error",
                "regions",
            )
            results[row] = {
                "pixel": {
                    **{name: getattr(found, name) for name in names},
                    "frames": self.frames,
                    "drawn_as": self._outliners[row].note,
                },
                "pixel_tao": asdict(self._tao[row].compute()),
            }
        return results

    def _add(
        self,
        row: str,
        detections: tuple[np.ndarray, np.ndarray],
        size: tuple[int, int],
        mask: BoolArray | None,
    ) -> None:
        boxes, scores = detections
        patches = self._outliners[row].outline(boxes, size)
        drawn = score_map(size, patches, scores)
        anomalous = np.zeros(size, np.bool_) if mask is None else mask
        self._honest[row].update(drawn, anomalous)
        if mask is not None:
            # The TAO code knows no score below "nothing found", which is 0.
            self._tao[row].update(np.maximum(drawn, 0), mask)

    def _seen(self, clip: Clip, masks: Iterable[BoolArray | None]) -> Iterator[BoolArray | None]:
        """Yield the masks, each after the outliner has seen its image if it needs images."""
        if not self._outliner.needs_image:
            yield from masks
            return
        self._outliner.reset()
        for expected, (mask, frame) in enumerate(zip(masks, clip.frames(), strict=True)):
            if frame.index != expected:
                raise ValueError(f"clip {clip.name}: frame {expected} is not readable")
            self._outliner.see(frame)
            yield mask


def frame_size(clip: Clip) -> tuple[int, int]:
    """Return height and width of a clip's images; raises ValueError where none is readable."""
    for frame in clip.frames():
        return frame.size
    raise ValueError(f"clip {clip.name}: {clip.source} has no readable image")


def _by_frame(boxes: ScoredBoxes, frame_count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boxes and scores of each frame."""
    order = np.argsort(boxes.frames, kind="stable")
    cuts = np.cumsum(np.bincount(boxes.frames, minlength=frame_count))[:-1]
    return list(
        zip(np.split(boxes.boxes[order], cuts), np.split(boxes.scores[order], cuts), strict=True)
    )


def box_metrics(clips: Sequence[Clip], scored: Scored) -> Json:
    """Return region, track, frame and operating-point metrics of one row; null where undefined."""
    located = [clip for clip in clips if clip.regions is not None]
    truth = [clip.regions for clip in located if clip.regions is not None]
    found = [scored[clip.name].detections for clip in located]
    frames = sum(clip.frame_count for clip in located)
    regions: Json = dict.fromkeys(("rbdc", "tbdc", "regions", "tracks", "frames"))
    if any(map(len, truth)):
        curves = region_track_curves(truth, found, num_frames=frames)
        regions = {name: getattr(curves, name) for name in regions}
    point = any(map(len, truth)) and all(c.raised is not None for c in scored.values())
    return {
        **regions,
        "frame": _frame_metrics(clips, scored),
        "operating_point": _operating_point(located, scored) if point else None,
        **_kinds(located, scored),
    }


def _kinds(clips: Sequence[Clip], scored: Scored) -> Json:
    """Return ``kinds``, the results of each kind of anomaly, of a dataset that tells kinds."""
    kinds = [clip.labels.kinds if clip.labels is not None else {} for clip in clips]
    if not any(kinds):
        return {}
    found = [scored[clip.name] for clip in clips]
    alarms = [clip.raised for clip in found if clip.raised is not None]
    results = kind_results(
        [clip.regions for clip in clips if clip.regions is not None],
        kinds,
        [clip.detections for clip in found],
        num_frames=sum(clip.frame_count for clip in clips),
        rates=[clip.rate for clip in clips],
        alarms=alarms if len(alarms) == len(found) else None,
    )
    return {"kinds": {kind: asdict(result) for kind, result in results.items()}}


def _frame_metrics(clips: Sequence[Clip], scored: Scored) -> Json | None:
    labels = {clip.name: clip.frame_labels for clip in clips}
    known = {name: marks for name, marks in labels.items() if marks is not None}
    together = np.concatenate([np.zeros(0, np.bool_), *known.values()])
    if not together.any() or together.all():
        return None
    lengths = {name: len(marks) for name, marks in known.items()}
    result = frame_metrics(
        {name: scored[name].frame_scores(length) for name, length in lengths.items()}, known
    )
    return {
        "micro_auc": result.micro_auc,
        "macro_auc": None if math.isnan(result.macro_auc) else result.macro_auc,
        "average_precision": result.average_precision,
        "pr_auc": result.pr_auc,
        "eer": result.eer,
        "clip_auc": result.clip_auc,
        "excluded_from_macro": list(result.excluded_clips),
    }


def _operating_point(clips: Sequence[Clip], scored: Scored) -> Json:
    truth = [clip.regions for clip in clips if clip.regions is not None]
    states = [_with_states(scored[clip.name]) for clip in clips]
    tracked = all(s.track_ids is not None for s in states if len(s))
    return {
        "region_f1": _rates(region_f1(truth, states, threshold=_RAISED)),
        "track_f1": _rates(track_f1(truth, states, threshold=_RAISED)) if tracked else None,
    }


def _with_states(clip: ScoredClip) -> ScoredBoxes:
    """Return the boxes scored 1 where raised and 0 elsewhere: the threshold may have moved."""
    boxes = clip.detections
    assert clip.raised is not None
    return ScoredBoxes(boxes.frames, boxes.boxes, clip.raised.astype(np.float64), boxes.track_ids)


def _rates(point: OperatingPoint) -> Json:
    names = ("f1", "precision", "recall", "correct", "raised", "found", "present")
    return {name: getattr(point, name) for name in names}


@dataclass(frozen=True)
class LabelSummary:
    """How much of the test clips is labelled, and how."""

    clips: int
    frames: int
    anomalous_frames: int | None
    clips_with_regions: int
    regions: int
    tracks: int

    @staticmethod
    def of(clips: Sequence[Clip]) -> LabelSummary:
        """Count the labels of `clips`."""
        marks = [clip.frame_labels for clip in clips]
        located = [clip.regions for clip in clips if clip.regions is not None]
        known = [m for m in marks if m is not None]
        return LabelSummary(
            clips=len(clips),
            frames=sum(clip.frame_count for clip in clips),
            anomalous_frames=int(sum(m.sum() for m in known)) if known else None,
            clips_with_regions=len(located),
            regions=sum(map(len, located)),
            tracks=sum(len(np.unique(r.track_ids)) for r in located),
        )
