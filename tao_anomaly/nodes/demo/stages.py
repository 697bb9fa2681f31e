"""Commands that are run one after the other; what an earlier run has made is used again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.config import DetectorConfig
from tao_anomaly.nodes.graph import undisturbed

_RECORD = "made_with.json"
_GRACE = 30.0  # seconds a command has to end what it started, after it was asked to
_LAST_LINES = 20  # of a log that are shown when its command fails


class StageError(RuntimeError):
    """A command that failed; the message says which, and what it said last."""


@dataclass(frozen=True)
class Stage:
    """One command and what it makes.

    title: what it does, for people. result: what is there when it is done. folder: all that it
    makes, if that is more. kept: whether a later run uses it again. resumes: whether the command
    goes on with what is unfinished. log: file for what it prints; None: the terminal.
    """

    name: str
    title: str
    command: tuple[str, ...]
    result: Path
    folder: Path | None = None
    kept: bool = True
    resumes: bool = False
    log: Path | None = None


class StageRunner:
    """Runs stages in `folder`, but those that a run with the same `made_with` has finished.

    total: stages to come, for the numbers printed. times: name, seconds and whether it was done
    before, of each stage so far.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, Any], *, total: int) -> None:
        self.times: list[tuple[str, float, bool]] = []
        self._total = total
        self._file = folder / _RECORD
        self._made_with = json.loads(json.dumps(made_with))
        folder.mkdir(parents=True, exist_ok=True)
        self._done = self._read()

    def run(self, stage: Stage, execute: Callable[[Stage], None] | None = None) -> None:
        """Run a stage, by `execute` where it needs more than its command; raises StageError."""
        head = f"\n[{len(self.times) + 1}/{self._total}] {stage.title}"
        if self._done.get(stage.name) and stage.result.exists():
            print(f"{head}\n  done before: {stage.result}", flush=True)
            self.times.append((stage.name, 0.0, True))
            return
        print(f"{head}\n  $ {shown(stage.command)}", flush=True)
        if not (stage.resumes and stage.name in self._done):
            remove(stage.folder or stage.result)
        if stage.kept:
            self._keep(stage, done=False)
        began = time.monotonic()
        (execute or run_stage)(stage)
        if not stage.result.exists():
            raise StageError(f"{shown(stage.command)}: ended well, but {stage.result} is not there")
        self.times.append((stage.name, time.monotonic() - began, False))
        if stage.kept:
            self._keep(stage, done=True)

    def note(self, name: str, seconds: float) -> None:
        """Keep the time of something that is no command."""
        self.times.append((name, seconds, False))

    def table(self) -> str:
        """Return the time of every stage and of all."""
        lines = [
            f"  {name:<12}" + ("done before" if before else f"{seconds:9.1f} s")
            for name, seconds, before in self.times
        ]
        total = sum(seconds for _, seconds, _ in self.times)
        return "\n".join(["Time taken:", *lines, f"  {'together':<12}{total:9.1f} s"])

    def _read(self) -> dict[str, bool]:
        """Return whether each stage begun is done; of a run with other settings, none is left."""
        try:
            found = json.loads(self._file.read_text("utf-8"))
            if found["made_with"] == self._made_with:
                return dict(found["done"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        print("demo: settings or code have changed since the last run; it begins anew")
        return {}

    def _keep(self, stage: Stage, *, done: bool) -> None:
        self._done[stage.name] = done
        document = {"made_with": self._made_with, "done": self._done}
        write_atomically(self._file, json.dumps(document, indent=1) + "\n")


def shown(command: Sequence[str]) -> str:
    """Return a command as one would type it."""
    return shlex.join(["python" if word == sys.executable else word for word in command])


def detector_words(detector: DetectorConfig) -> list[str]:
    """Return what names the detector's weights to a command with ``key=value`` words."""
    words = [f"pipeline.detector.weights={detector.weights}"]
    if detector.weights_sha256:
        words.append(f"pipeline.detector.weights_sha256={detector.weights_sha256}")
    return words


def detector_arguments(detector: DetectorConfig) -> list[str]:
    """Return what names the detector's weights to the graph's command."""
    words = ["--detector-weights", detector.weights]
    if detector.weights_sha256:
        words += ["--detector-weights-sha256", detector.weights_sha256]
    return words


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run_stage(stage: Stage) -> None:
    """Run a stage's command in a session of its own.

    However this ends, by Ctrl-C too, nothing that the command started in its session goes on.
    Raises StageError where it fails.
    """
    child: subprocess.Popen[bytes] | None = None
    with ExitStack() as stack:
        log = stack.enter_context(stage.log.open("wb")) if stage.log else None
        try:
            child = subprocess.Popen(
                stage.command, stdout=log, stderr=log and subprocess.STDOUT, start_new_session=True
            )
            status = child.wait()
        except KeyboardInterrupt:
            print("\n  interrupted: ending what runs ...", flush=True)
            raise
        finally:
            with undisturbed():
                if child is not None:
                    end_session(child)
    if status:
        said = stage.log.read_text("utf-8", errors="replace").splitlines() if stage.log else []
        last = "".join(f"\n  {line}" for line in said[-_LAST_LINES:])
        raise StageError(f"{shown(stage.command)}: ended with status {status}{last}")


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """End all processes of a session, first gently, then surely."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _GRACE
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, how)
            while time.monotonic() < deadline:
                leader.poll()
                os.killpg(leader.pid, 0)
                time.sleep(0.05)
            continue
        leader.wait()
        return
