from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.spread import COLUMNS, read, table


def result(path: Path, rbdc: float) -> Path:
    """An evaluation's JSON with the offline row first and one missing metric."""
    own = {"name": "model", "group": "own", "causal": True}
    offline = {**own, "causal": False, "metrics": {"rbdc": 0.99}}
    causal = {**own, "metrics": {"rbdc": rbdc, "frame": {"micro_auc": 0.5}, "pixel": None}}
    path.write_text(json.dumps({"rows": [offline, causal]}))
    return path


def test_mean_and_deviation_by_hand(tmp_path: Path) -> None:
    found = {name: read(result(tmp_path / name, rbdc)) for name, rbdc in (("a", 0.7), ("b", 0.74))}
    assert found["a"][0] == pytest.approx(70)
    assert found["a"][[heading for heading, _ in COLUMNS].index("frame AUC, micro")] == 50
    assert np.isnan(found["a"]).sum() == len(COLUMNS) - 2
    rows = {line.split(" | ")[0]: line.split(" | ")[1] for line in table(found).splitlines()[2:]}
    assert rows == {"| a": "70.0", "| b": "74.0", "| **mean**": "72.0", "| **deviation**": "2.8"}


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"rows": []}', '{"rows": [{"group": "own"}]}'])
def test_what_is_no_evaluation_names_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"wrong\.json: not readable as an evaluation"):
        read(path)
