from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tao_anomaly.datasets.registry import DATASETS
from tao_anomaly.evaluation.report import read_published

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.yaml"


def test_every_published_number_names_a_dataset_and_a_source() -> None:
    entries = yaml.safe_load(PUBLISHED.read_text("utf-8"))
    rows = [row for name in DATASETS for row in read_published(PUBLISHED, name)]
    assert len(rows) == len(entries)
    assert all(len(row.source) > 10 for row in rows)
    assert all(0 < value <= 100 for row in rows for value in row.metrics.values())
    ped2 = {row.method: row.metrics for row in rows if row.dataset == "ucsd_ped2"}
    assert (ped2["TAO"]["rbdc"], ped2["TAO"]["tbdc"]) == (83.6, 93.2)
    assert ped2["MULDE"] == {"frame_auc": 99.7}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {dataset: avenue, method: A, metrics: {auc: 1.0}, source: paper}", "'auc'"),
        ("- {dataset: avenue, method: A, metrics: {rbdc: 1.0}, source: ''}", "without source"),
        ("- {dataset: avenue, method: A, metrics: {rbdc: 1.0}}", "source"),
        ("- [", "not readable"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem) as caught:
        read_published(path, "avenue")
    assert str(path) in str(caught.value)
