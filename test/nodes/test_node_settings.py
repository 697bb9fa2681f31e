"""The shipped parameter file says what the dataclasses say."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tao_anomaly.config import PipelineConfig
from tao_anomaly.nodes.settings import SETTINGS, parameter_file

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / "config" / "nodes"


def test_the_parameter_file_is_the_one_made_from_the_dataclasses() -> None:
    shipped = (NODES / "anomaly.yaml").read_text()
    assert shipped == parameter_file(), "run python -m tao_anomaly.nodes.settings again"


def test_every_shipped_file_sets_parameters_that_there_are() -> None:
    known = yaml.safe_load(parameter_file())["/**"]["ros__parameters"].keys()
    shipped = {file.name: yaml.safe_load(file.read_text()) for file in NODES.glob("*.yaml")}
    assert shipped.keys() == {"anomaly.yaml", "low_latency.yaml"}
    for chosen in shipped.values():
        assert chosen.keys() == {"/**"}
        assert known >= chosen["/**"]["ros__parameters"].keys()


def test_the_parameter_file_holds_every_setting_of_the_pipeline() -> None:
    values = yaml.safe_load(parameter_file())["/**"]["ros__parameters"]
    default = PipelineConfig()
    for stage in fields(default):
        config = getattr(default, stage.name)
        for entry in fields(config):
            value = getattr(config, entry.name)
            assert values[f"{stage.name}.{entry.name}"] == pytest.approx(value, nan_ok=True)


def test_every_node_is_listed_with_its_settings() -> None:
    nodes = {path.stem for path in (ROOT / "tao_anomaly" / "nodes").glob("*_node.py")}
    # The base class, and those that have the settings of all stages.
    assert nodes - {"stage_node", "pipeline_node", "cameras_node"} == set(SETTINGS)
