"""One self-contained HTML page of scored recordings: data, scripts, styles and pictures within."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np

from tao_anomaly.config import ScorerConfig
from tao_anomaly.visualization.findings import Finding, highest_tracks
from tao_anomaly.visualization.pictures import Pictures, place_thumbnails, take_pictures
from tao_anomaly.visualization.recording import Recording
from tao_anomaly.visualization.series import latency_histogram, tail, timeline

Json = dict[str, Any]
_TIMELINE_POINTS = 6000  # of all recordings together
_FEWEST_POINTS = 40  # of one of them
_TRACKS = 24  # in the gallery
_STILLS = 4  # times as many events have a picture as have a video


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a page shows.

    results: the evaluation's ``<name>.json`` and details: its ``details.json``, both empty without
    one. calibration: of the model's artifact, if known.
    """

    title: str
    recordings: Sequence[Recording]
    results: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    scorer: ScorerConfig = field(default_factory=ScorerConfig)


def render_report(content: ReportContent, *, events: Sequence[Finding], videos: int) -> str:
    """Return the page; videos: how many events, and highest tracks, get a short video."""
    data = report_data(content, events=events, videos=videos)
    folder = files("tao_anomaly.visualization") / "templates"
    environment = jinja2.Environment(autoescape=True)
    page = environment.from_string((folder / "report.html").read_text("utf-8"))
    return page.render(
        title=content.title,
        style=(folder / "report.css").read_text("utf-8"),
        script=(folder / "report.js").read_text("utf-8"),
        plotly=_plotly(),
        # "<" cannot end the script element, whatever a name holds.
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def report_data(content: ReportContent, *, events: Sequence[Finding], videos: int) -> Json:
    """Return all that the page's script draws, as JSON."""
    tracks = highest_tracks(list(content.recordings), _TRACKS)
    pictures = _all_pictures(events, tracks, videos)
    tables = [recording.table for recording in content.recordings]
    points = max(_FEWEST_POINTS, _TIMELINE_POINTS // max(1, len(tables)))
    calibration = content.calibration
    evidence = _evidence(content.details.get("evidence", ()))
    seconds = np.concatenate([np.zeros(0), *(table.latency for table in tables)])
    return {
        "title": content.title,
        "facts": _facts(content, events),
        "terms": list(next((t.term_names for t in tables if t.term_names), ())),
        "clips": [_clip(recording, points) for recording in content.recordings],
        "events": [
            _finding(event, picture)
            | {"evidence": evidence.get((event.recording.name, event.name))}
            for event, picture in zip(events, pictures[: len(events)], strict=True)
        ],
        "tracks": [
            _finding(track, picture)
            for track, picture in zip(tracks, pictures[len(events) :], strict=True)
        ],
        "rows": content.results.get("rows", []),
        "published": content.results.get("published", []),
        "curves": content.details.get("curves", {}),
        "tail": None if calibration is None else tail(calibration),
        "latency": latency_histogram(seconds),
        "protocol": content.results.get("protocol", {}),
    }


def _all_pictures(
    events: Sequence[Finding], tracks: Sequence[Finding], videos: int
) -> list[Pictures]:
    """Return the pictures of events, then of tracks; each recording's images are read once.

    The highest `videos` events and all tracks get a video, some more events a still picture.
    """
    findings = [*events, *tracks]
    moving = [*range(min(videos, len(events))), *range(len(events), len(findings))]
    still = range(videos, min(_STILLS * videos, len(events)))
    pictures = [Pictures()] * len(findings)
    chosen: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for kind, numbers in enumerate((moving, still)):
        for number in numbers:
            chosen[findings[number].recording.name][kind].append(number)
    for with_video, without in chosen.values():
        numbers = with_video + without
        mine = [findings[number] for number in numbers]
        taken = take_pictures(mine[0].recording, mine, videos=len(with_video))
        for number, picture in zip(numbers, taken, strict=True):
            pictures[number] = picture
    return pictures


def _clip(recording: Recording, points: int) -> Json:
    line = timeline(recording, points)
    known = line.thresholds[~np.isnan(line.thresholds)]
    constant = len(known) == 0 or bool((known == known[0]).all())
    marks = recording.anomalous
    return {
        "name": recording.name,
        "rate": round(recording.rate, 4),
        "frames": recording.frame_count,
        "objects": len(set(recording.table.tracks.tolist())),
        "at": line.frames.tolist(),
        "scores": _numbers(line.scores),
        "threshold": _number(known[0]) if constant and len(known) else None,
        "thresholds": None if constant else _numbers(line.thresholds),
        "anomalous": None if marks is None else [list(stretch) for stretch in marks],
    }


def _finding(finding: Finding, picture: Pictures) -> Json:
    recording, table = finding.recording, finding.recording.table
    first, last = int(finding.frames[0]), int(finding.frames[-1])
    peak = int(table.frames[finding.peak])
    return {
        "name": finding.name,
        "clip": recording.name,
        "track": finding.track,
        "class": finding.class_name,
        "first": first,
        "last": last,
        "peak": peak,
        "start": round(first / recording.rate, 3),
        "duration": round((last - first) / recording.rate, 3),
        "score": _number(finding.score),
        "threshold": _number(float(table.thresholds[finding.peak])),
        "cue": str(table.cues[finding.peak]),
        "contributions": _numbers(finding.contributions),
        "labelled": finding.is_labelled,
        "kinds": sorted({recording.kinds[i] for i in finding.labels if i in recording.kinds}),
        "thumbnail": picture.thumbnail,
        "video": picture.video,
    }


def _evidence(found: Sequence[Json]) -> dict[tuple[str, str], Json]:
    """Return the evidence by recording and event, with pictures of the neighbours."""
    places = [place for entry in found for place in entry["neighbours"]]
    by_source = defaultdict(list)
    for place in places:
        by_source[place["source"], place["topic"]].append(place)
    images = {
        id(place): image
        for (source, topic), group in by_source.items()
        for place, image in zip(group, place_thumbnails(source, topic, group), strict=True)
    }
    return {
        (entry["clip"], entry["event"]): {
            "steps": entry["steps"],
            "neighbours": [
                {
                    "image": images[id(place)],
                    "distance": place["distance"],
                    "place": f"{place['clip']}, frame {place['frame']}",
                }
                for place in entry["neighbours"]
            ],
        }
        for entry in found
    }


def _facts(content: ReportContent, events: Sequence[Finding]) -> list[Json]:
    recordings = content.recordings
    frames = sum(recording.frame_count for recording in recordings)
    seconds = sum(recording.frame_count / recording.rate for recording in recordings)
    tracks = sum(len(set(recording.table.tracks.tolist())) for recording in recordings)
    facts: list[tuple[str, str]] = []
    own = content.results.get("rows", [{}])[0].get("metrics", {})
    frame = own.get("frame") or {}
    for label, value in (
        ("RBDC", own.get("rbdc")),
        ("TBDC", own.get("tbdc")),
        ("Frame AUC", frame.get("micro_auc")),
    ):
        if value is not None:
            facts.append((label, f"{100 * value:.1f} %"))
    facts += [
        ("Events", f"{len(events):,}"),
        ("Tracks", f"{tracks:,}"),
        ("Frames", f"{frames:,}"),
        ("Footage", _duration(seconds)),
    ]
    return [{"label": label, "value": value} for label, value in facts]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # 0.3 s, only where a page is made

    return get_plotlyjs()
