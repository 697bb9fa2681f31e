from __future__ import annotations

import os
import subprocess
import sys


def policy(environment: dict[str, str]) -> str:
    """Return how OpenMP threads wait in a process that imports the package, before torch."""
    code = "import os, sys, tao_anomaly\nassert 'torch' not in sys.modules\n"
    code += "print(os.environ['OMP_WAIT_POLICY'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_waiting_threads_leave_the_cores_to_others_unless_told_otherwise() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    assert policy(environment) == "PASSIVE"
    assert policy({**environment, "OMP_WAIT_POLICY": "ACTIVE"}) == "ACTIVE"
