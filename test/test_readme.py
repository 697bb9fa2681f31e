"""The README's generated table is the one the dataclasses give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_parameter_table_is_generated() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- parameters -->\n")[1].split("<!-- /parameters -->")[0]
    made = subprocess.run(
        [sys.executable, "-m", "tao_anomaly.nodes.settings", "--table"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    assert table == made, "put the output of python -m tao_anomaly.nodes.settings --table there"


def test_results_are_those_of_the_evaluation() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- table -->\n")[1].split("<!-- /table -->")[0]
    made = (ROOT / "benchmarks" / "results" / "ucsd_ped2_ped2_mae.md").read_text(encoding="utf-8")
    assert "| **temporal_mae (this model)** |" in table
    assert made.startswith(table.rstrip())


def test_speeds_are_those_of_the_benchmark() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- speed -->\n")[1].split("<!-- /speed -->")[0]
    made = (ROOT / "benchmarks" / "results" / "speed.md").read_text(encoding="utf-8")
    summary = made.split("\n## ")[0]  # the stages, objects and cameras follow
    assert "forward" in summary
    assert table.rstrip() == summary.rstrip()


def test_linked_files_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in readme.split("](")[1:]]
    local = [link for link in links if not link.startswith("http")]
    assert local[:2] == ["docs/demo.webp", "docs/ped2_overlay.jpg"]
    assert (ROOT / "docs" / "demo.webp").stat().st_size < 3e6
    assert [link for link in local if not (ROOT / link).exists()] == []
