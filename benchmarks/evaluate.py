"""Evaluate a model, given predictions or a recorded bag: see ``--help``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"  # where data and weights lie unless said otherwise

# This checkout is evaluated, whatever is installed.
sys.path.insert(0, str(REPOSITORY))

from tao_anomaly.evaluation.command import main  # noqa: E402
from tao_anomaly.weights import SHARED_VARIABLE  # noqa: E402

if __name__ == "__main__":
    if SHARED.is_dir():
        os.environ.setdefault(SHARED_VARIABLE, str(SHARED))
    sys.exit(main(Path(__file__).with_name("published.yaml")))
