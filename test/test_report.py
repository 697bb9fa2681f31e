"""The report of recordings of every kind, as data and in a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly import report
from tao_anomaly.config import ScorerConfig
from tao_anomaly.media.score_table import LATENCY_FILE, ScoreTableWriter, table_of
from tao_anomaly.metrics.regions import RegionTracks
from tao_anomaly.report import ReportConfig, load_content, write_report
from tao_anomaly.structures import NANOSECONDS, AnomalyScores, AnomalyState, TrackFeatures
from tao_anomaly.visualization.findings import find_events, highest_tracks
from tao_anomaly.visualization.paper_figures import timeline_figure, write_figures
from tao_anomaly.visualization.recording import Recording
from tao_anomaly.visualization.report_page import ReportContent, render_report, report_data
from tao_anomaly.visualization.series import latency_histogram, tail, timeline

THRESHOLD = 2.0
NAMES = {0: "person"}
Images = Callable[[Sequence[Sequence[float]]], dict[int, AnomalyScores]]


@pytest.fixture
def images(make_features: Callable[..., TrackFeatures]) -> Images:
    """Scores at 10 Hz: image i has one object a value of row i, which is its score."""

    def make(rows: Sequence[Sequence[float]]) -> dict[int, AnomalyScores]:
        return {i: scores_of(make_features, i, list(row)) for i, row in enumerate(rows)}

    return make


def scores_of(make: Callable[..., TrackFeatures], i: int, values: list[float]) -> AnomalyScores:
    names = {f"0-{n}": [0] * 3 for n in range(len(values))}
    boxes = [[10 + 30 * n + i % 5, 10, 30 + 30 * n + i % 5, 50] for n in range(len(values))]
    tracks = make(i / 10, names, boxes=boxes).tracks
    scores = np.array(values, np.float32)
    states = np.where(scores >= THRESHOLD, AnomalyState.ANOMALOUS, AnomalyState.NORMAL)
    states[np.isnan(scores)] = AnomalyState.WARMUP
    parts = np.stack([scores * 0.75, scores * 0.25], axis=1).reshape(-1, 2)
    return AnomalyScores(
        stamp_ns=i * NANOSECONDS // 10,
        epoch=0,
        image_size=(120, 160),
        tracks=tracks,
        observations=np.full(len(values), 4),
        states=states.astype(np.int64),
        scores=scores,
        raw=scores,
        terms=parts,
        term_names=("speed", "appearance"),
        contributions=parts,
        leading=("speed",) * len(values),
        cues=("3.1x usual speed",) * len(values),
        threshold=THRESHOLD,
        model_id="m",
    )


def recording(images: dict[int, AnomalyScores], **facts: object) -> Recording:
    table = table_of(images, class_names=NAMES, rate=10.0)
    known = {"name": "yard", "rate": 10.0, "frame_count": len(images), **facts}
    return Recording(table=table, **known)


EVENT = [[0.5, 1.0]] * 3 + [[3.0, 1.0]] * 2 + [[5.0, 1.0]] + [[3.0, 1.0]] * 3 + [[0.1, 1.0]] * 20


def test_an_event_is_what_the_node_would_have_sent(images: Images) -> None:
    marks = ((0, 2), (20, 25))
    (event,) = find_events(recording(images(EVENT), anomalous=marks), ScorerConfig())
    assert (event.track, event.class_name, event.score) == ("0-0", "person", 5.0)
    assert event.frames.tolist() == [3, 4, 5, 6, 7, 8]
    assert event.contributions.tolist() == [3.75, 1.25]
    assert event.is_labelled is False
    assert event.recording.is_anomalous(2, 8) is True
    assert find_events(recording(images(EVENT)), ScorerConfig(event_start=0.6)) == []


def test_an_event_agrees_with_labels_where_its_boxes_do(images: Images) -> None:
    tracks, frames = np.array([1, 2]), np.array([4, 5])
    boxes = np.array([[13, 10, 32, 49], [90, 10, 110, 49]])  # of its object, and far from it
    truth = RegionTracks(tracks, frames, boxes)
    known = {"regions": truth, "kinds": {1: "left_object", 2: "cart"}, "anomalous": ((4, 5),)}
    (event,) = find_events(recording(images(EVENT), **known), ScorerConfig())
    assert (event.labels, event.is_labelled) == ((1,), True)
    elsewhere = RegionTracks(tracks[1:], frames[1:], boxes[1:])
    (event,) = find_events(
        recording(images(EVENT), **known | {"regions": elsewhere}), ScorerConfig()
    )
    assert (event.labels, event.is_labelled) == ((), False)


def test_an_event_that_never_ended_lasts_to_the_end(images: Images) -> None:
    (event,) = find_events(recording(images(EVENT[:8])), ScorerConfig())
    assert event.frames.tolist() == [3, 4, 5, 6, 7]


def test_tracks_are_ordered_by_their_highest_score(images: Images) -> None:
    found = highest_tracks([recording(images(EVENT)), recording(images([[9.0]]))], 2)
    assert [(track.track, track.score) for track in found] == [("0-0", 9.0), ("0-0", 5.0)]


def test_a_thinned_timeline_keeps_every_peak(images: Images) -> None:
    rows = [[float(i % 7)] for i in range(100)]
    rows[41], rows[50:60] = [99.0], [[]] * 10
    line = timeline(recording(images(rows)), 10)
    assert line.scores.tolist() == [6, 6, 6, 6, 99, pytest.approx(np.nan, nan_ok=True), 6, 6, 6, 6]
    assert line.frames[4] == 41
    assert set(line.thresholds) == {THRESHOLD}


def test_the_tail_by_hand() -> None:
    gpd = {
        "family": "gpd",
        "start": 1.0,
        "shape": 0.0,
        "scale": 1.0,
        "exceedances": 2,
        "tracks": 20,
    }
    evidence = {
        "highest": {"calibration": [3.0, 2.0, 1.5], "check": [4.0]},
        "check": {"tracks": 10},
    }
    found = tail(
        {"threshold": {"rule": "evt", "value": 3.3, "q": 0.01, **gpd}, "evidence": evidence}
    )
    assert found["calibration"] == {"scores": [3.0, 2.0, 1.5], "shares": [0.05, 0.1, 0.15]}
    assert found["check"] == {"scores": [4.0], "shares": [0.1]}
    fitted = np.array([found["fitted"]["scores"], found["fitted"]["shares"]])
    np.testing.assert_allclose(fitted[1], 0.1 * np.exp(-(fitted[0] - 1)), rtol=1e-3)
    none = tail({"threshold": {"rule": "fixed", "value": 3.0}, "evidence": {}})
    assert none["fitted"] == none["check"] == {"scores": [], "shares": []}


def test_latency_counts_every_image() -> None:
    found = latency_histogram(np.array([0.01] * 51 + [0.02] * 48 + [9.0]))
    assert (sum(found["counts"]), found["p50"], found["images"]) == (100, 10.0, 100)
    assert latency_histogram(np.zeros(0)) is None


def page(content: ReportContent, videos: int = 4) -> str:
    events = [e for r in content.recordings for e in find_events(r, content.scorer)]
    return render_report(content, events=events, videos=videos)


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found.group(1))


@pytest.mark.parametrize(
    "rows", [[], [[]], [[]] * 30, [[np.nan]], [[1.0]], [[1.0, 0.5]] * 30], ids=len
)
def test_recordings_without_an_event(images: Images, rows: list[list[float]]) -> None:
    data = data_of(page(ReportContent(title="quiet", recordings=[recording(images(rows))])))
    assert data["events"] == []
    assert len(data["tracks"]) == len(rows[0] if rows and np.isfinite(rows[0]).all() else [])
    assert data["clips"][0]["frames"] == len(rows)
    assert len(data["clips"][0]["at"]) == len(rows)
    assert data["clips"][0]["anomalous"] is None


def test_a_hundred_thousand_frames_are_bounded(images: Images) -> None:
    pattern = images([[0.5, 1.0]] * 40 + [[3.0, 1.0]] * 5 + [[0.1, 1.0]] * 20)
    table = recording(pattern).table
    count, period = 100_000, len(pattern)
    times = np.arange(0, count, period)
    shift = np.repeat(times, len(table))
    tiled = {
        name: np.tile(getattr(table, name), (len(times),) + (1,) * (getattr(table, name).ndim - 1))
        for name in ("tracks", "class_ids", "class_names", "states", "scores", "thresholds")
    } | {
        name: np.tile(getattr(table, name), (len(times), 1)) for name in ("boxes", "contributions")
    }
    long = replace(
        table,
        frames=np.tile(table.frames, len(times)) + shift,
        stamps=np.tile(table.stamps, len(times)) + shift * (NANOSECONDS // 10),
        epochs=np.zeros(len(shift), np.int64),
        cues=np.tile(table.cues, len(times)),
        images=np.arange(len(times) * period),
        **tiled,
    )
    whole = Recording(name="long", table=long, rate=10.0, frame_count=len(long.images))
    content = ReportContent(title="long", recordings=[whole])
    events = find_events(whole, content.scorer)
    assert len(events) == len(times)
    data = report_data(content, events=events[:1000], videos=4)
    assert len(data["clips"][0]["at"]) <= 6000
    assert max(data["clips"][0]["scores"]) == 3.0
    assert len(json.dumps(data)) < 2e6


@pytest.fixture
def scored(images: Images, tmp_path: Path) -> Path:
    """What infer leaves: a table of scores of images that are there."""
    footage = tmp_path / "<b>yard & co"
    footage.mkdir()
    shown = images(EVENT)
    with ScoreTableWriter(
        tmp_path / "run" / "scores.parquet",
        class_names=NAMES,
        model_id="m",
        source=str(footage),
        rate=10.0,
    ) as table:
        for i, scores in shown.items():
            picture = np.full((120, 160, 3), 4 * i, np.uint8)
            cv2.imwrite(str(footage / f"{i:03d}.png"), picture)
            table.write(i, scores)
    (tmp_path / "run" / LATENCY_FILE).write_text(json.dumps([0.02] * len(shown)))
    return tmp_path / "run"


def test_a_folder_of_infer_becomes_a_page(
    scored: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    output = tmp_path / "page.html"
    monkeypatch.setattr(sys, "argv", ["report", str(scored), f"output={output}"])
    assert report.main() == 0
    assert str(output) in capsys.readouterr().out
    text = output.read_text("utf-8")
    (event,) = data_of(text)["events"]
    assert (event["first"], event["last"], event["peak"], event["score"]) == (3, 8, 5, 5.0)
    assert event["contributions"] == [3.75, 1.25]
    assert sum(event["contributions"]) == event["score"]
    assert event["thumbnail"].startswith("data:image/jpeg;base64,")
    assert event["video"].startswith("data:image/webp;base64,")
    assert data_of(text)["latency"]["p50"] == 20.0
    assert "<b>yard" not in text.replace("\\u003c", "")
    outside = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)[^"]*"', text)
    assert outside == []


def test_moved_images_leave_a_page_without_pictures(scored: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "<b>yard & co")
    path = write_report(ReportConfig(source=str(scored), output=str(tmp_path / "p.html")))
    (event,) = data_of(path.read_text("utf-8"))["events"]
    assert (event["thumbnail"], event["video"]) == ("", "")


def test_figures_for_papers_show_the_same(images: Images, tmp_path: Path) -> None:
    shown = recording(images(EVENT), anomalous=((20, 25),))
    events = find_events(shown, ScorerConfig())
    axes = timeline_figure(shown, events).axes[0]
    _, scores, peaks = axes.lines
    line = timeline(shown, 2000)
    np.testing.assert_array_equal(scores.get_ydata(), line.scores)
    np.testing.assert_allclose(scores.get_xdata(), line.frames / 10)
    assert (peaks.get_xdata()[0], peaks.get_ydata()[0]) == (0.5, 5.0)
    band = axes.patches[0]
    assert (band.get_x(), band.get_width()) == pytest.approx((2.0, 0.6))
    curves = {"mine": {"region_track": None, "roc": {"fpr": [0, 1], "tpr": [0, 1]}, "pr": None}}
    written = write_figures(tmp_path, [shown], events, curves)
    names = ["timeline_yard.png", "timeline_yard.svg", "roc.png", "roc.svg"]
    assert [path.name for path in written] == names
    assert all(path.stat().st_size > 1000 for path in written)


@pytest.mark.parametrize("source", ["", "nowhere", "."])
def test_what_is_no_result_is_refused(source: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"not found|holds neither"):
        load_content(ReportConfig(source=source))


CHECKS = """
<script>
const failures = [];
const expect = (holds, text) => { if (!holds) failures.push(text); };
const choose = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("change")); };
expect(document.querySelectorAll("#events .card").length === 1, "one event");
expect(getComputedStyle($("labelled-field")).display === "none", "no labels, no filter");
choose("labelled", "true");
expect(!document.querySelectorAll("#events .card").length, "no event has a label");
$("clear").click();
expect(document.querySelectorAll("#events .card").length === 1, "cleared");
choose("class", "person");
expect($("count").textContent === "1 of 1 events", $("count").textContent);
document.querySelector("#events .card").click();
expect($("detail").open, "the event opens");
expect($("detail").querySelector("img.clip").src.startsWith("data:image/webp"), "its video");
expect($("detail").textContent.includes("5.00"), "its score");
$("detail").close();
const marker = document.querySelector("#timeline .plotly, #timeline svg");
expect(marker, "the timeline is drawn");
expect($("s-metrics").hidden && $("f-tail").hidden && !$("f-latency").hidden, "sections");
const before = document.documentElement.dataset.theme;
$("theme").click();
expect(document.documentElement.dataset.theme !== before, "theme");
expect(document.documentElement.scrollWidth <= innerWidth, "wider than the window");
const fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
expect(fetched.every((name) => name.startsWith("data:")), "fetched " + fetched);
document.title = failures.length ? "failed: " + failures.join("; ") : "all is well";
</script>
"""


@pytest.mark.parametrize("width", [500, 1300])
def test_the_page_works_in_a_browser(scored: Path, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium on the PATH")
    path = write_report(ReportConfig(source=str(scored), output=str(tmp_path / "page.html")))
    path.write_text(path.read_text("utf-8") + CHECKS, "utf-8")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    command += ["--virtual-time-budget=4000", "--enable-logging=stderr", path.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    title = re.search(r"<title>(.*?)</title>", ran.stdout)
    assert title, ran.stderr[-2000:]
    assert title.group(1) == "all is well"
    assert 'data-ready="true"' in ran.stdout
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
