"""Parameters say what they are, refuse what the dataclass refuses, and change only where meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import pytest

rclpy = pytest.importorskip("rclpy", reason="no ROS 2: make setup, then make test")

from rclpy.exceptions import InvalidParameterTypeException, ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from tao_anomaly.config import DetectorConfig, ScorerConfig, WindowConfig, setting
from tao_anomaly.nodes.parameters import Settings


@pytest.fixture
def make_node(domain: int) -> Iterator[object]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    nodes = []

    def make(**given: object) -> Node:
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in given.items()]
        nodes.append(Node("under_test", context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_the_defaults_are_those_of_the_dataclass(make_node) -> None:
    node = make_node()
    settings = Settings(node, DetectorConfig, prefix="detector")
    assert settings.value == DetectorConfig()
    for entry in fields(DetectorConfig):
        name = f"detector.{entry.name}"
        assert node.get_parameter(name).value == getattr(DetectorConfig(), entry.name)
        assert node.describe_parameter(name).description == entry.metadata["description"]


def test_given_values_are_taken(make_node) -> None:
    node = make_node(windows__hop=5, windows__max_age=3.5)
    settings = Settings(node, WindowConfig, prefix="windows")
    assert (settings.value.hop, settings.value.max_age) == (5, 3.5)


def test_ranges_and_choices_are_described(make_node) -> None:
    node = make_node()
    Settings(node, DetectorConfig, prefix="detector")
    confidence = node.describe_parameter("detector.confidence")
    assert confidence.read_only
    assert confidence.floating_point_range[0].to_value == 1.0
    size = node.describe_parameter("detector.input_size").integer_range[0]
    assert (size.from_value, size.to_value) == (32, 2**63 - 1)
    assert "torch" in node.describe_parameter("detector.backend").additional_constraints


def test_a_value_out_of_range_is_refused_at_the_start(make_node) -> None:
    with pytest.raises(ParameterException, match="out of range"):
        Settings(make_node(detector__confidence=1.5), DetectorConfig, prefix="detector")


def test_a_value_that_is_no_choice_is_refused_at_the_start(make_node) -> None:
    with pytest.raises(ValueError, match=r"backend: got 'caffe', expected one of auto"):
        Settings(make_node(detector__backend="caffe"), DetectorConfig, prefix="detector")


def test_a_value_of_another_type_is_refused_at_the_start(make_node) -> None:
    with pytest.raises(InvalidParameterTypeException, match=r"windows\.max_age"):
        Settings(make_node(windows__max_age=3), WindowConfig, prefix="windows")


def test_a_live_setting_changes_and_is_handed_on(make_node) -> None:
    node = make_node()
    seen: list[ScorerConfig] = []
    settings = Settings(node, ScorerConfig, prefix="scorer", on_change=seen.append)
    assert math.isnan(settings.value.threshold)
    results = node.set_parameters([Parameter("scorer.threshold", value=2.5)])
    assert results[0].successful
    assert settings.value.threshold == 2.5
    assert seen == [settings.value]


def test_a_live_setting_keeps_its_limits(make_node) -> None:
    node = make_node()
    seen: list[WindowConfig] = []
    settings = Settings(node, WindowConfig, prefix="windows", on_change=seen.append)
    assert not node.set_parameters([Parameter("windows.hop", value=0)])[0].successful
    assert (settings.value.hop, seen) == (WindowConfig().hop, [])


def test_other_settings_are_read_only(make_node) -> None:
    node = make_node()
    settings = Settings(node, WindowConfig, prefix="windows")
    result = node.set_parameters([Parameter("windows.length", value=8)])[0]
    assert not result.successful
    assert "read-only" in result.reason
    assert settings.value.length == WindowConfig().length


@dataclass(frozen=True)
class Coloured:
    colour: str = setting("red", "a colour", choices=("red", "blue"), live=True)


def test_a_live_choice_is_checked_when_set(make_node) -> None:
    node = make_node()
    settings = Settings(node, Coloured)
    refused, taken = (
        node.set_parameters([Parameter("colour", value=colour)])[0] for colour in ("mud", "blue")
    )
    assert not refused.successful
    assert refused.reason == "Coloured.colour: got 'mud', expected one of red, blue"
    assert taken.successful
    assert settings.value.colour == "blue"
