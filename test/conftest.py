from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data, weights and golden numbers that lie beside the repository, not in it."""
    path = Path(os.environ.get("TAO_ANOMALY_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data: {path} is not a directory (set TAO_ANOMALY_SHARED)")
    return path
