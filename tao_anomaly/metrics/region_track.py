"""RBDC and TBDC: region- and track-based detection criterion, as curves and as areas.

A region is detected if a detection of its frame overlaps it with IoU >= 0.1; a track is detected if
at least 10 % of its regions are. One detection may find several regions; a detection that overlaps
no region at all is a false positive, a further one on a found region is neither. The score is swept
from high to low over the whole test set: region (RBDR) and track (TBDR) detection rate over the
false-positive rate (false positives / test frames), area for rates from 0 to 1 by trapezoids.

A curve begins at (0, 0), is cut behind its last point with FPR <= 1 and held flat up to FPR = 1. So
a group of equal scores that leaps over FPR = 1 adds nothing: no threshold reaches it.

Source: Ramachandra and Jones, "Street Scene: A new dataset and evaluation protocol for video
anomaly detection", WACV 2020.

Command: ``python -m tao_anomaly.metrics.region_track TRACKS_DIR DETECTIONS_DIR --num-frames N``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from tao_anomaly.metrics.regions import (
    FloatArray,
    IntArray,
    JoinedVideos,
    RegionTracks,
    ScoredBoxes,
    join_videos,
)
from tao_anomaly.metrics.text_formats import read_videos

Ties = Literal["group", "file_order"]

IOU_THRESHOLD = 0.1  # from which a detection finds a region


@dataclass(frozen=True)
class RegionTrackCurves:
    """Both curves over one FPR axis, their areas, and what was counted.

    fpr, rbdr, tbdr ``(K,)``: rates, fpr from 0 to 1, rising. thresholds ``(K,)``: the score that a
    detection needs to count at that point, +inf at the first. rbdc, tbdc: areas, 0 .. 1. regions,
    tracks, frames: ground-truth regions and tracks, test frames.
    """

    fpr: FloatArray
    rbdr: FloatArray
    tbdr: FloatArray
    thresholds: FloatArray
    rbdc: float
    tbdc: float
    regions: int
    tracks: int
    frames: int


def region_track_curves(
    ground_truth: Sequence[RegionTracks],
    detections: Sequence[ScoredBoxes],
    *,
    num_frames: int,
    ties: Ties = "group",
    iou_threshold: float = IOU_THRESHOLD,
    track_fraction: float = 0.1,
) -> RegionTrackCurves:
    """Return RBDC, TBDC and their curves; one entry a video in both sequences, in one order.

    num_frames: frames of the whole test set, normal videos too. ties: ``group`` makes equal scores
    one point of the curve, so that the order of rows means nothing; ``file_order`` gives each
    detection its point in the order of videos and rows, as the widely used AED script does, and
    depends on that order. Raises ValueError where no video has a region, where the sequences differ
    in length, or where an option is out of range.
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties must be one of {get_args(Ties)}, got {ties!r}")
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if not 0 < track_fraction <= 1:
        raise ValueError(f"track_fraction must be in (0, 1], got {track_fraction}")
    videos = join_videos(ground_truth, detections, iou_threshold)
    order = np.argsort(-videos.scores, kind="stable")
    false_positives, region_ranks = _first_detections(videos, order)
    track_ranks = _track_ranks(videos.region_tracks, region_ranks, track_fraction)
    regions = len(region_ranks)
    fpr = np.cumsum(false_positives) / num_frames
    rbdr = _found_so_far(region_ranks, len(order)) / regions
    tbdr = _found_so_far(track_ranks, len(order)) / videos.tracks
    thresholds = videos.scores[order]
    if ties == "group":
        last = np.flatnonzero(np.diff(thresholds, append=-np.inf))
        fpr, rbdr, tbdr, thresholds = fpr[last], rbdr[last], tbdr[last], thresholds[last]
    fpr, rbdr, tbdr, thresholds = _close(fpr, rbdr, tbdr, thresholds)
    return RegionTrackCurves(
        fpr=fpr,
        rbdr=rbdr,
        tbdr=tbdr,
        thresholds=thresholds,
        rbdc=float(np.trapezoid(rbdr, fpr)),
        tbdc=float(np.trapezoid(tbdr, fpr)),
        regions=regions,
        tracks=videos.tracks,
        frames=num_frames,
    )


def _first_detections(videos: JoinedVideos, order: IntArray) -> tuple[IntArray, IntArray]:
    """Return which detections, in `order`, are false positives ``(N,)``, and region ranks ``(R,)``.

    A rank is the place in `order` of the first detection that finds the region, N if none does.
    """
    total = len(order)
    ranks = np.empty(total, np.int64)
    ranks[order] = np.arange(total)
    false_positives = np.ones(total, np.int64)
    false_positives[ranks[videos.pair_detections]] = 0
    region_ranks = np.full(len(videos.region_tracks), total, np.int64)
    np.minimum.at(region_ranks, videos.pair_regions, ranks[videos.pair_detections])
    return false_positives, region_ranks


def _track_ranks(region_tracks: IntArray, region_ranks: IntArray, fraction: float) -> IntArray:
    """Return the rank ``(tracks,)`` at which `fraction` of each track's regions are found."""
    sizes = np.bincount(region_tracks)
    needed = np.floor(fraction * sizes).astype(np.int64)
    needed += needed / sizes < fraction  # found / size >= fraction, free of rounding in the product
    by_track = np.lexsort((region_ranks, region_tracks))
    starts = np.cumsum(sizes) - sizes
    return region_ranks[by_track][starts + needed - 1]


def _found_so_far(ranks: IntArray, total: int) -> IntArray:
    """Return how many of `ranks` are found after each of `total` detections."""
    return np.cumsum(np.bincount(ranks, minlength=total)[:total])


def _close(
    fpr: FloatArray, rbdr: FloatArray, tbdr: FloatArray, thresholds: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Begin the curves at (0, 0), cut them at FPR = 1 and hold them flat up to there."""
    inside = np.searchsorted(fpr, 1.0, side="right")
    curves = [
        np.concatenate([[first], values[:inside]])
        for first, values in ((0.0, fpr), (0.0, rbdr), (0.0, tbdr), (np.inf, thresholds))
    ]
    if curves[0][-1] < 1:
        ends = (1.0, *(curve[-1] for curve in curves[1:]))
        curves = [np.append(curve, end) for curve, end in zip(curves, ends, strict=True)]
    fpr, rbdr, tbdr, thresholds = curves
    return fpr, rbdr, tbdr, thresholds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print RBDC and TBDC of a directory of detections as one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m tao_anomaly.metrics.region_track",
        description="RBDC and TBDC of detections against tracks, one text file a video.",
    )
    parser.add_argument(
        "tracks", type=Path, metavar="TRACKS_DIR", help="rows track,frame,x1,y1,x2,y2"
    )
    parser.add_argument(
        "detections", type=Path, metavar="DETECTIONS_DIR", help="rows frame,x1,y1,x2,y2,score"
    )
    parser.add_argument(
        "--num-frames", type=int, required=True, help="frames of the whole test set"
    )
    parser.add_argument("--ties", choices=get_args(Ties), default="group")
    options = parser.parse_args(arguments)
    try:
        # No clip is longer than the test set, so this is the bound a frame number has here.
        videos = read_videos(options.tracks, options.detections, clip_length=options.num_frames)
        curves = region_track_curves(
            videos.ground_truth,
            videos.detections,
            num_frames=options.num_frames,
            ties=options.ties,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    names = ("rbdc", "tbdc", "regions", "tracks", "frames")
    print(json.dumps({name: getattr(curves, name) for name in names}))


if __name__ == "__main__":
    main()
