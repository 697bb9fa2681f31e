"""What anomaly_graph starts, and that nothing it started outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tao_anomaly.nodes import graph, replay

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(600)",
]
# Its niceness counts against what runs in the same session, and Ctrl-C goes past its group.
NICE_TO_ITS_SESSION = (
    f"import os; assert os.nice(0) == {min(os.nice(0) + 5, 19)};"
    "assert os.getsid(0) == os.getsid(os.getppid()); assert os.getpgrp() == os.getpid()"
)
ENDS = [sys.executable, "-c", ""]
FAILS = [sys.executable, "-c", "raise SystemExit(3)"]


def modules(*arguments: str) -> list[str]:
    return [node.module for node in graph.plan(graph.parse(arguments))]


def test_each_stage_is_a_process_or_all_are_one() -> None:
    assert modules() == ["detector_node", "track_buffer_node", "scorer_node"]
    assert modules("--composed") == ["pipeline_node"]
    assert modules("--composed", "--overlay") == ["pipeline_node", "overlay_node"]
    assert modules("--record", "a.mp4", "--source", "b")[-2:] == [
        "overlay_node",
        "video_source_node",
    ]


def test_only_what_was_given_is_set() -> None:
    options = graph.parse(
        ["--model", "m", "--namespace", "/left/", "--image-topic", "camera/image"]
    )
    words = graph.command(graph.plan(options)[1], options)
    assert words[:4] == [sys.executable, "-m", "tao_anomaly.nodes.track_buffer_node", "--ros-args"]
    assert words[4:] == [
        *("--log-level", "info"),
        *("-r", "__ns:=/left"),
        *("-r", "image_raw:=camera/image"),
        *("-p", 'model:="m"'),
    ]


def test_the_detector_lets_the_stages_after_it_go_first() -> None:
    options = graph.parse([])
    detector, *others = (graph.command(node, options) for node in graph.plan(options))
    assert detector[:5] == ["nice", "-n", "5", sys.executable, "-m"]
    assert [words[0] for words in others] == [sys.executable] * 2
    shown = graph.start(["nice", "-n", "5", sys.executable, "-c", NICE_TO_ITS_SESSION])
    try:
        assert shown.wait(30) == 0
    finally:
        graph.end([shown])


def test_the_source_waits_for_all_stages() -> None:
    separate, composed = (
        graph.plan(graph.parse(["--source", "x", *more]))[-1].parameters["wait_for"]
        for more in ([], ["--composed"])
    )
    assert separate == "image_raw detector/features track_buffer/windows scorer/anomalies"
    assert composed == "image_raw scorer/anomalies"


def test_in_lock_step_no_image_is_too_old(tmp_path: Path) -> None:
    wanted = ["--params-file", str(tmp_path / "hasty.yaml")]
    in_lock_step = [
        *graph.plan(graph.parse(["--source", "x", "--lock-step", *wanted]))[:-1],
        *replay.plan(replay.parse(["bag", *wanted]))[:-1],
    ]
    assert [stage.parameters["max_wait"] for stage in in_lock_step] == [0.0] * 6
    at_its_own_pace = [
        *graph.plan(graph.parse(["--source", "x", *wanted])),
        *replay.plan(replay.parse(["bag", "--real-time", *wanted])),
    ]
    assert not any("max_wait" in stage.parameters for stage in at_its_own_pace)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", *graph.PROFILE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    assert Path(graph.environment()["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    assert graph.environment()["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    assert graph.environment() == dict(os.environ)


@pytest.mark.parametrize(
    ("last", "status"), [(ENDS, 0), (FAILS, 3)], ids=["ends well", "ends badly"]
)
def test_the_end_of_the_source_ends_all(last: list[str], status: int) -> None:
    assert graph.supervise([SLEEP, SLEEP, last], last_ends_all=True) == status


@pytest.mark.parametrize(("first", "status"), [(ENDS, 1), (FAILS, 3)])
def test_a_stage_that_ends_is_a_failure(first: list[str], status: int) -> None:
    assert graph.supervise([first, SLEEP], last_ends_all=True) == status


def test_what_ended_is_named_also_where_it_gives_way(capsys: pytest.CaptureFixture[str]) -> None:
    gives_way = ["nice", "-n", "5", *FAILS, "--ros-args", "-p", "model:=m"]
    assert graph.supervise([gives_way, SLEEP], last_ends_all=True) == 3
    shown = " ".join(gives_way[:6])
    assert capsys.readouterr().err == f"{shown} ended with status 3; the others are ended too\n"


@pytest.mark.parametrize(
    ("how", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_ending_the_command_ends_its_processes(
    tmp_path: Path, how: signal.Signals, status: int
) -> None:
    pids = tmp_path / "pids"
    child = (
        f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    )
    code = (
        "import sys; from tao_anomaly.nodes import graph; graph.heed_signals();"
        f"sys.exit(graph.supervise([[sys.executable, '-c', {child!r}]] * 2, last_ends_all=False))"
    )
    command = subprocess.Popen([sys.executable, "-c", code])
    while not pids.exists() or len(pids.read_text().splitlines()) < 2:
        time.sleep(0.05)
    command.send_signal(how)
    assert command.wait(60) == status
    left = [int(pid) for pid in pids.read_text().split()]
    if how != signal.SIGKILL:
        for pid in left:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    deadline = time.monotonic() + 30  # after SIGKILL nobody waits for them
    while any(alive(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in left if alive(pid)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_that_will_not_end_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph, "GRACE", 0.5)
    child = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"deaf\n"
    graph.end([child])
    assert child.wait(60) == -signal.SIGKILL
