"""Under which conditions a script measured: they stand above its figures."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import date
from pathlib import Path

from tao_anomaly.evaluation.protocol import machine

_LOAD = os.getloadavg()[0]  # before the script adds its own


def conditions() -> dict[str, str]:
    """Return the command line, the date, the machine and what else kept it busy."""
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    return {
        "Command": f"`{shlex.join(words)}`",
        "Date": date.today().isoformat(),
        "Machine": machine(),
        "Load average before": f"{_LOAD:.1f}",
    }


def listed(facts: dict[str, str]) -> str:
    """Return facts as a Markdown list."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
