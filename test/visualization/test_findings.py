"""Events and tracks of a recording."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tao_anomaly.config import ScorerConfig
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.visualization.findings import find_events, highest_tracks
from tao_anomaly.visualization.recording import Recording

Rows = list[list[float]]
Recorded = Callable[..., Recording]


def test_an_event_is_what_the_node_would_have_sent(recorded: Recorded, event_rows: Rows) -> None:
    marks = ((0, 2), (20, 25))
    (event,) = find_events(recorded(event_rows, anomalous=marks), ScorerConfig())
    assert (event.track, event.class_name, event.score) == ("0-0", "person", 5.0)
    assert event.frames.tolist() == [3, 4, 5, 6, 7, 8]
    assert event.contributions.tolist() == [3.75, 1.25]
    assert event.is_labelled is False
    assert event.recording.is_anomalous(2, 8) is True
    assert find_events(recorded(event_rows), ScorerConfig(event_start=0.6)) == []


def test_an_event_agrees_with_labels_where_its_boxes_do(
    recorded: Recorded, event_rows: Rows
) -> None:
    tracks, frames = np.array([1, 2]), np.array([4, 5])
    boxes = np.array([[13, 10, 32, 49], [90, 10, 110, 49]])  # of its object, and far from it
    truth = RegionTracks(tracks, frames, boxes)
    known = {"regions": truth, "kinds": {1: "left_object", 2: "cart"}, "anomalous": ((4, 5),)}
    (event,) = find_events(recorded(event_rows, **known), ScorerConfig())
    assert (event.labels, event.is_labelled) == ((1,), True)
    elsewhere = RegionTracks(tracks[1:], frames[1:], boxes[1:])
    (event,) = find_events(recorded(event_rows, **known | {"regions": elsewhere}), ScorerConfig())
    assert (event.labels, event.is_labelled) == ((), False)


def test_an_event_that_never_ended_lasts_to_the_end(recorded: Recorded, event_rows: Rows) -> None:
    (event,) = find_events(recorded(event_rows[:8]), ScorerConfig())
    assert event.frames.tolist() == [3, 4, 5, 6, 7]


def test_tracks_are_ordered_by_their_highest_score(recorded: Recorded, event_rows: Rows) -> None:
    found = highest_tracks([recorded(event_rows), recorded([[9.0]])], 2)
    assert [(track.track, track.score) for track in found] == [("0-0", 9.0), ("0-0", 5.0)]
