"""Parameters of a node, declared from the dataclasses that define them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import Field, fields, replace
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from tao_anomaly.config import validate
from tao_anomaly.nodes.settings import parameter_name

C = TypeVar("C")


class Settings(Generic[C]):
    """The settings of one dataclass as parameters ``<prefix>.<field>`` of a node.

    value: the present settings. Fields declared ``live=True`` may be set while the node runs:
    the change is checked as a whole and then given to `on_change`. All others are read-only.
    Raises ValueError where a starting value breaks a limit.
    """

    def __init__(
        self,
        node: Node,
        schema: type[C],
        *,
        prefix: str = "",
        on_change: Callable[[C], None] | None = None,
    ) -> None:
        self._names = {parameter_name(prefix, f.name): f.name for f in fields(schema)}  # type: ignore[arg-type]
        self._on_change = on_change
        given = {}
        for entry in fields(schema):  # type: ignore[arg-type]
            name = parameter_name(prefix, entry.name)
            default = getattr(schema(), entry.name)
            given[entry.name] = node.declare_parameter(name, default, descriptor(entry)).value
        self.value: C = schema(**given)
        validate(self.value)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take)

    def _changed(self, parameters: list[Parameter]) -> C:
        mine = {self._names[p.name]: p.value for p in parameters if p.name in self._names}
        return replace(self.value, **mine)  # type: ignore[type-var]

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            validate(self._changed(parameters))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take(self, parameters: list[Parameter]) -> None:
        if not any(p.name in self._names for p in parameters):
            return
        self.value = self._changed(parameters)
        if self._on_change is not None:
            self._on_change(self.value)


def descriptor(entry: Field[Any]) -> ParameterDescriptor:
    """Describe a setting: what it means, its range or choices, and whether it may change."""
    limits = entry.metadata
    choices = limits.get("choices")
    described = ParameterDescriptor(
        description=limits["description"],
        read_only=not limits.get("live", False),
        additional_constraints=f"one of {', '.join(choices)}" if choices else "",
    )
    if "minimum" in limits or "maximum" in limits:
        if entry.type == "int":
            low, high = limits.get("minimum", -(2**63)), limits.get("maximum", 2**63 - 1)
            described.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
        else:
            low = limits.get("minimum", -sys.float_info.max)
            high = limits.get("maximum", sys.float_info.max)
            described.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            ]
    return described
