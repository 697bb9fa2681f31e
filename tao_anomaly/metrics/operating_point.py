"""Precision, recall and F1 of regions and of tracks at one threshold.

These describe a running detector at the threshold it was calibrated to. They are not RBDC or TBDC,
which sweep the threshold (`region_track`), and use another IoU and another rule for tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from tao_anomaly.metrics.regions import (
    BoolArray,
    IntArray,
    RegionTracks,
    ScoredBoxes,
    join_videos,
    number_over_videos,
)

IOU_THRESHOLD = 0.2
HITS = 3
CONSECUTIVE_FRAMES = 5


@dataclass(frozen=True)
class OperatingPoint:
    """Rates 0 .. 1 at one threshold, and the counts behind them.

    precision: correct / raised, 0 where nothing was raised. recall: found / present. f1: their
    harmonic mean, 0 where both are 0.
    """

    threshold: float
    correct: int
    raised: int
    found: int
    present: int

    @property
    def precision(self) -> float:
        """Share of what was raised that is correct."""
        return self.correct / self.raised if self.raised else 0.0

    @property
    def recall(self) -> float:
        """Share of what is present that was found."""
        return self.found / self.present

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def region_f1(
    ground_truth: Sequence[RegionTracks],
    detections: Sequence[ScoredBoxes],
    *,
    threshold: float,
    iou_threshold: float = IOU_THRESHOLD,
) -> OperatingPoint:
    """Return how well the boxes with a score >= `threshold` match the regions, one to one.

    raised: boxes with a score >= threshold. present: ground-truth regions. correct = found: the
    most pairs of a raised box and a region of its frame with IoU >= `iou_threshold` that can be
    formed with no box and no region used twice (a maximum matching, so no order matters). One entry
    a video in both sequences; raises ValueError as `join_videos` does.
    """
    videos = join_videos(ground_truth, detections, iou_threshold)
    raised = videos.scores >= threshold
    counts = raised[videos.pair_detections]
    shape = (len(raised), len(videos.region_tracks))
    places = videos.pair_detections[counts], videos.pair_regions[counts]
    pairs = sparse.csr_matrix((np.ones(len(places[0]), np.int8), places), shape=shape)
    matched = int(np.sum(maximum_bipartite_matching(pairs, perm_type="column") >= 0))
    return OperatingPoint(threshold, matched, int(raised.sum()), matched, shape[1])


def track_f1(
    ground_truth: Sequence[RegionTracks],
    detections: Sequence[ScoredBoxes],
    *,
    threshold: float,
    iou_threshold: float = IOU_THRESHOLD,
) -> OperatingPoint:
    """Return how well the tracks that raise an alarm match the ground-truth tracks.

    A box is raised if its score >= `threshold`, and hits a region of its frame if their IoU >=
    `iou_threshold`. Every track is judged by one rule, 3 of any 5 consecutive frames:

    * present: ground-truth tracks; found: those of which at least 3 regions within 5 consecutive
      frames are hit by a raised box, of whatever track (so a track of 2 frames cannot be found);
    * raised: predicted tracks with at least 3 raised boxes within 5 consecutive frames; correct:
      those with at least 3 raised boxes within 5 consecutive frames that hit a region.

    One entry a video in both sequences; `ScoredBoxes.track_ids` must be given wherever there are
    boxes. Raises ValueError where it is not, and as `join_videos` does.
    """
    videos = join_videos(ground_truth, detections, iou_threshold)
    if any(video.track_ids is None for video in detections if len(video)):
        raise ValueError(
            "track_f1 needs the track of every box: got ScoredBoxes without track_ids (text files "
            "have none); use region_f1, or TBDC, for predictions without tracks"
        )
    tracks, _ = number_over_videos(
        [np.zeros(0) if video.track_ids is None else video.track_ids for video in detections]
    )
    raised = videos.scores >= threshold
    hits = raised[videos.pair_detections]
    correct = np.zeros(len(raised), np.bool_)
    correct[videos.pair_detections[hits]] = True
    found = np.zeros(len(videos.region_tracks), np.bool_)
    found[videos.pair_regions[hits]] = True

    def predicted(boxes: BoolArray) -> int:
        return _tracks_with_run(tracks[boxes], videos.detection_frames[boxes])

    return OperatingPoint(
        threshold=threshold,
        correct=predicted(correct),
        raised=predicted(raised),
        found=_tracks_with_run(videos.region_tracks[found], videos.region_frames[found]),
        present=videos.tracks,
    )


def _tracks_with_run(tracks: IntArray, frames: IntArray) -> int:
    """Count the tracks that occur in at least 3 of some 5 consecutive frames."""
    # Unique: two boxes of one track in one frame are one hit.
    pairs = np.unique(np.stack([tracks, frames], axis=1), axis=0)
    first, last = pairs[: 1 - HITS], pairs[HITS - 1 :]
    run = (first[:, 0] == last[:, 0]) & (last[:, 1] - first[:, 1] < CONSECUTIVE_FRAMES)
    return len(np.unique(first[run, 0]))
