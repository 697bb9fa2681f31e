from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("variable", "ours", "other"),
    [("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"), ("OPENBLAS_THREAD_TIMEOUT", "4", "26")],
)
def test_waiting_threads_leave_the_cores_to_others_unless_told_otherwise(
    variable: str, ours: str, other: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != variable}
    assert chosen(variable, environment) == ours
    assert chosen(variable, {**environment, variable: other}) == other


def chosen(variable: str, environment: dict[str, str]) -> str:
    """Return what a process has set that imports the package, before the libraries that read it."""
    code = "import os, sys, tao_anomaly\nassert not {'torch', 'numpy'} & sys.modules.keys()\n"
    code += f"print(os.environ[{variable!r}])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
