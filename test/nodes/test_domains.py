from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

Claim = Callable[[Iterable[int]], AbstractContextManager[int]]


def test_a_domain_belongs_to_one_test_at_a_time(
    claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # no other run is here
    with claim([7, 8]) as first, claim([7, 8]) as second:
        assert (first, second) == (7, 8)
        with pytest.raises(RuntimeError, match="all ROS domains are claimed"), claim([7, 8]):
            pass
    with claim([7, 8]) as again:
        assert again == 7
