"""The table of revisions: what is left out and what is divided by what."""

from __future__ import annotations

import sys
from subprocess import PIPE, Popen

import pytest

from benchmarks.revisions import Revision, report

ANSWER = "import sys\nfor line in sys.stdin: print(float(line) / 1000, flush=True)"


def test_the_first_row_is_the_measure_and_warm_up_is_left_out() -> None:
    rows = []
    for commit, images in (("aaa", [900, 10, 20, 60]), ("bbb", [1, 20, 60, 70])):
        with Popen([sys.executable, "-c", ANSWER], stdin=PIPE, stdout=PIPE, text=True) as process:
            revision = Revision(commit, "torch", process, len(images))
            for image in images:
                revision.take(image)
            assert process.stdin is not None
            process.stdin.close()
        assert revision.seconds == [image / 1000 for image in images]
        rows.append(revision)
    text = report(rows, {"Date": "today"}, skip=1)
    assert "- Date: today\n- Images: 3 each after 1 of warm-up" in text
    assert "| aaa | torch | 20.0 | 30.0 | 1.00 | 1.00 |" in text
    assert "| bbb | torch | 60.0 | 50.0 | 3.00 | 1.67 |" in text


def test_a_worker_that_has_ended_is_named() -> None:
    ended = Popen([sys.executable, "-c", "input()"], stdin=PIPE, stdout=PIPE, text=True)
    with ended as process, pytest.raises(OSError, match=r"no answer of the worker .*input\(\)"):
        Revision("aaa", "torch", process, 1).take(3)
