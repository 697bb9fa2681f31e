"""The page of recordings of every kind, as data and in a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly import report
from tao_anomaly.model.config import ScoringConfig
from tao_anomaly.report import ReportConfig, load_content, write_report
from tao_anomaly.structures import NANOSECONDS
from tao_anomaly.visualization.findings import find_events
from tao_anomaly.visualization.recording import Recording
from tao_anomaly.visualization.report_page import ReportContent, render_report, report_data

Rows = list[list[float]]
Recorded = Callable[..., Recording]


def page(content: ReportContent, videos: int = 4) -> str:
    events = [e for r in content.recordings for e in find_events(r, content.scorer)]
    return render_report(content, events=events, videos=videos)


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found.group(1))


def test_no_two_terms_of_a_score_have_the_same_colour() -> None:
    script = Path(report.__file__).parent / "visualization" / "templates" / "report.js"
    colours = re.search(r"const TERMS = \[(.*?)\];", script.read_text("utf-8"), re.DOTALL).group(1)
    found = re.findall(r"#[0-9a-f]{6}", colours)
    assert len(found) == len(set(found)) >= len(ScoringConfig.cues + ScoringConfig.terms)


@pytest.mark.parametrize(
    "rows", [[], [[]], [[]] * 30, [[np.nan]], [[1.0]], [[1.0, 0.5]] * 30], ids=len
)
def test_recordings_without_an_event(recorded: Recorded, rows: Rows) -> None:
    data = data_of(page(ReportContent(title="quiet", recordings=[recorded(rows)])))
    assert data["events"] == []
    assert len(data["tracks"]) == len(rows[0] if rows and np.isfinite(rows[0]).all() else [])
    assert data["clips"][0]["frames"] == len(rows)
    assert len(data["clips"][0]["at"]) == len(rows)
    assert data["clips"][0]["anomalous"] is None


def test_a_hundred_thousand_frames_are_bounded(recorded: Recorded) -> None:
    pattern = [[0.5, 1.0]] * 40 + [[3.0, 1.0]] * 5 + [[0.1, 1.0]] * 20
    table = recorded(pattern).table
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
