"""Region, track and delay metrics of each kind of anomaly.

Of a kind, RBDC and TBDC are those of a test set where only its regions are anomalous. A detection
that finds none of them but a region of another kind is neither right nor wrong there and left out;
one that finds no region at all is a false positive for every kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tao_anomaly.metrics.region_track import IOU_THRESHOLD, region_track_curves
from tao_anomaly.metrics.regions import BoolArray, RegionTracks, ScoredBoxes, join_videos


@dataclass(frozen=True)
class KindResult:
    """Results of one kind. regions, tracks: ground truth. rbdc, tbdc: areas, 0 .. 1.

    alarmed: tracks that an alarm met. delay: median seconds from a track's first region to the
    first alarm on it, over these; None where there is none. Both None where alarms are not known.
    """

    regions: int
    tracks: int
    rbdc: float
    tbdc: float
    alarmed: int | None
    delay: float | None


def kind_results(
    ground_truth: Sequence[RegionTracks],
    kinds: Sequence[Mapping[int, str]],
    detections: Sequence[ScoredBoxes],
    *,
    num_frames: int,
    rates: Sequence[float],
    alarms: Sequence[BoolArray] | None = None,
) -> dict[str, KindResult]:
    """Return the results of each kind that has a region, in order of name.

    One entry a video in every sequence. kinds: by track id. num_frames: of the whole test set.
    rates: frames a second. alarms ``(N,)``: True for detections at or above the threshold. Raises
    ValueError where a track has no kind, and as `region_track_curves` does.
    """
    names = [_names(truth, known) for truth, known in zip(ground_truth, kinds, strict=True)]
    found = {}
    for kind in sorted(set(np.concatenate([np.zeros(0, np.str_), *names]).tolist())):
        truth = [
            _select(regions, name == kind)
            for regions, name in zip(ground_truth, names, strict=True)
        ]
        others = [
            _select(regions, name != kind)
            for regions, name in zip(ground_truth, names, strict=True)
        ]
        kept = [
            finds | ~elsewhere
            for finds, elsewhere in zip(
                _finding(truth, detections), _finding(others, detections), strict=True
            )
        ]
        curves = region_track_curves(
            truth,
            [
                ScoredBoxes(d.frames[k], d.boxes[k], d.scores[k])
                for d, k in zip(detections, kept, strict=True)
            ],
            num_frames=num_frames,
        )
        delays = None if alarms is None else _delays(truth, detections, alarms, rates)
        found[kind] = KindResult(
            regions=curves.regions,
            tracks=curves.tracks,
            rbdc=curves.rbdc,
            tbdc=curves.tbdc,
            alarmed=None if delays is None else len(delays),
            delay=float(np.median(delays)) if delays else None,
        )
    return found


def _names(truth: RegionTracks, kinds: Mapping[int, str]) -> np.ndarray:
    """Return the kind of each region ``(R,)``."""
    unknown = sorted(set(truth.track_ids.tolist()) - kinds.keys())
    if unknown:
        raise ValueError(f"got no kind of the tracks {unknown}; expected one for every track")
    return np.array([kinds[track] for track in truth.track_ids.tolist()], np.str_)


def _select(truth: RegionTracks, rows: np.ndarray) -> RegionTracks:
    return RegionTracks(truth.track_ids[rows], truth.frames[rows], truth.boxes[rows])


def _finding(truth: Sequence[RegionTracks], detections: Sequence[ScoredBoxes]) -> list[BoolArray]:
    """Return, a video, which detections ``(N,)`` find a region."""
    sizes = [len(video) for video in detections]
    finds = np.zeros(sum(sizes), np.bool_)
    if any(map(len, truth)):
        finds[join_videos(truth, detections, IOU_THRESHOLD).pair_detections] = True
    return np.split(finds, np.cumsum(sizes)[:-1])


def _delays(
    truth: Sequence[RegionTracks],
    detections: Sequence[ScoredBoxes],
    alarms: Sequence[BoolArray],
    rates: Sequence[float],
) -> list[float]:
    """Return the delay in seconds of each track that an alarm met."""
    delays = []
    for regions, found, raised, rate in zip(truth, detections, alarms, rates, strict=True):
        if not len(regions) or not raised.any():
            continue
        alarmed = ScoredBoxes(found.frames[raised], found.boxes[raised], found.scores[raised])
        met = np.unique(join_videos([regions], [alarmed], IOU_THRESHOLD).pair_regions)
        for track in np.unique(regions.track_ids[met]):
            first = regions.frames[regions.track_ids == track].min()
            alarm = regions.frames[met][regions.track_ids[met] == track].min()
            delays.append(float(alarm - first) / rate)
    return delays
