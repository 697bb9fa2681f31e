"""The demo on rendered scenes: its stages, what it leaves behind, and what it makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: make setup, then make test")

from tao_anomaly.media.anomaly_bag import read_anomalies
from tao_anomaly.media.source import open_source
from tao_anomaly.nodes.demo.stages import Stage, StageError, StageRunner

MARK = "TAO_ANOMALY_TEST_MARK"


def writing(folder: Path, name: str, text: str, **facts: object) -> Stage:
    """A stage that writes `text` into the file `name`, as often as it is run."""
    code = f"open({str(folder / name)!r}, 'a').write({text!r})"
    command = (sys.executable, "-c", code)
    return Stage(name, f"write {name}", command, folder / name, **facts)


def run(folder: Path, made_with: dict[str, int], *stages: Stage) -> StageRunner:
    runner = StageRunner(folder, made_with, total=len(stages))
    for stage in stages:
        runner.run(stage)
    return runner


def test_what_is_done_is_used_again_until_the_settings_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = writing(tmp_path, "kept", "a"), writing(tmp_path, "each", "b", kept=False)
    first = run(tmp_path, {"seed": 1}, *stages)
    assert [(name, before) for name, _, before in first.times] == [("kept", False), ("each", False)]
    assert "[1/2] write kept\n  $ python -c" in capsys.readouterr().out
    second = run(tmp_path, {"seed": 1}, *stages)
    assert [(name, before) for name, _, before in second.times] == [("kept", True), ("each", False)]
    assert "done before" in second.table()
    assert (tmp_path / "each").read_text() == "b"  # made anew, not added to
    (tmp_path / "kept").unlink()
    assert not run(tmp_path, {"seed": 1}, *stages).times[0][2]
    assert not run(tmp_path, {"seed": 2}, *stages).times[0][2]
    assert (tmp_path / "kept").read_text() == "a"
    assert "settings or code have changed" in capsys.readouterr().out


def interrupted_once(path: Path, **facts: object) -> Stage:
    """A stage that adds a letter to a file and fails as long as it is the only one."""
    code = f"f = open({str(path)!r}, 'a+'); f.write('a'); f.seek(0); exit(len(f.read()) == 1)"
    return Stage("s", "write", (sys.executable, "-c", code), path, **facts)


def test_an_unfinished_result_is_gone_on_with_or_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "parts"
    path.write_text("of unknown making")
    for _ in range(2):
        with pytest.raises(StageError):
            run(tmp_path, {}, interrupted_once(path))
        assert path.read_text() == "a"
    assert not run(tmp_path, {}, interrupted_once(path, resumes=True)).times[0][2]
    assert path.read_text() == "aa"
    with pytest.raises(StageError):  # what other settings have made is no beginning
        run(tmp_path, {"seed": 1}, interrupted_once(path, resumes=True))


def test_a_command_that_fails_tells_what_it_said_last(tmp_path: Path) -> None:
    said = (sys.executable, "-c", "print('no luck'); raise SystemExit(3)")
    bad = Stage("bad", "fail", said, tmp_path / "bad", log=tmp_path / "bad.log")
    with pytest.raises(StageError, match=r"(?s)^python -c .*ended with status 3\n  no luck$"):
        run(tmp_path, {}, bad)
    idle = Stage("idle", "do nothing", (sys.executable, "-c", ""), tmp_path / "idle")
    with pytest.raises(StageError, match=r"ended well, but .*idle is not there"):
        run(tmp_path, {}, idle)
    assert not run(tmp_path, {}, writing(tmp_path, "bad", "a")).times[0][2]


def marked(mark: str) -> list[str]:
    """Return the command lines of all processes that have the mark in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # no process, or one that has ended
    return found


def start(code: str, mark: str, log: Path) -> subprocess.Popen[bytes]:
    """Run Python code in a process group of its own, as a shell does."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
            env={**os.environ, MARK: mark},
        )


def wait_for(text: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_ctrl_c_ends_all_that_a_command_started(tmp_path: Path) -> None:
    log, mark = tmp_path / "log", str(tmp_path)
    child = "import time; print('asleep', flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    code = (
        "import sys; from pathlib import Path; from tao_anomaly.nodes import graph;"
        "from tao_anomaly.nodes.demo.stages import Stage, run_stage; graph.heed_signals();"
        f"run_stage(Stage('s', '', (sys.executable, '-c', {parent!r}), Path('none')))"
    )
    process = start(code, mark, log)
    wait_for("asleep", log, process)
    assert len(marked(mark)) == 3
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    assert marked(mark) == []


DEMO = """
import os, sys
from pathlib import Path
from tao_anomaly.nodes import graph
from tao_anomaly.nodes.demo.plaza_demo import Footage, PlazaDemo
graph.heed_signals()
os.environ.update(graph.environment())
footage = Footage(train_clips=3, seconds=5, test_seconds=6, anomalies=2, width=320, height=180)
PlazaDemo(folder=Path({folder!r}), fast=True, footage=footage).run()
"""


@pytest.mark.slow
def test_from_footage_to_report_with_an_interruption_and_nothing_from_outside(
    domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAO_ANOMALY_SHARED", raising=False)
    folder, mark = tmp_path / "demo", str(tmp_path)
    code, log = DEMO.format(folder=str(folder)), tmp_path / "log"
    process = start(code, mark, log)
    wait_for("[4/6]", log, process)
    graph_log = folder / "graph.log"
    while not graph_log.exists():
        time.sleep(0.05)
    wait_for("ready", graph_log, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) != 0
    assert marked(mark) == []
    assert not (folder / "scores").exists()

    process = start(code, mark, log)
    assert process.wait(280) == 0, log.read_text()
    said = log.read_text()
    assert said.count("done before: ") == 3
    assert "image 50 of 60: " in said
    assert marked(mark) == []
    assert len(list(read_anomalies(folder / "scores"))) == 60
    assert open_source(folder / "overlay.mp4").length == 60
    assert (folder / "demo.webp").read_bytes()[8:12] == b"WEBP"
    kinds = json.loads((folder / "results" / "test_001.json").read_text())["rows"][0]["metrics"]
    alarmed = sum(kind["alarmed"] for kind in kinds["kinds"].values())
    assert f"Anomalies in the scene: {len(kinds['kinds'])}; found: {alarmed}" in said
    page = (folder / "report.html").read_text("utf-8")
    shown = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert shown["clips"][0]["anomalous"]
    assert shown["rows"][0]["metrics"] == kinds
    assert f"Events: {len(shown['events'])};" in said
