from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tao_anomaly.openvino_graph import OpenVinoGraph, gains_by_bfloat16


def _graph() -> bytes:
    """Return a graph that gives ``2 a + b`` and ``a`` of rows in any number."""
    a, b, c, same = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 3])
        for name in ("a", "b", "c", "same")
    )
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    nodes = [
        helper.make_node("Mul", ["a", "two"], ["twice"]),
        helper.make_node("Add", ["twice", "b"], ["c"]),
        helper.make_node("Identity", ["a"], ["same"]),
    ]
    graph = helper.make_graph(nodes, "g", [a, b], [c, same], [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content = io.BytesIO()
    onnx.save(model, content)
    return content.getvalue()


@pytest.mark.parametrize("fixed", [True, False])
def test_any_size_in_turn_gives_the_outputs_in_order(fixed: bool) -> None:
    graph = OpenVinoGraph(_graph(), threads=1)
    assert graph.output_names == ("c", "same")
    kept = []
    for rows in (1, 4, *range(2, 12), 1):  # more sizes than stay compiled
        a, b = (np.full((rows, 3), value, np.float32) for value in (rows, 0.25))
        kept.append((graph.run({"a": a, "b": b}, fixed=fixed), a))
    for (c, same), a in kept:  # no run writes over what an earlier one gave
        assert np.array_equal(c, 2 * a + 0.25)
        assert np.array_equal(same, a)


def test_a_size_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    compiled: list[Any] = []
    compile_model = openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core,
        "compile_model",
        lambda core, model, *rest: (
            compiled.append(model.inputs[0].partial_shape.is_static)
            or compile_model(core, model, *rest)
        ),
    )
    graph = OpenVinoGraph(_graph(), threads=1)
    row, rows = np.ones((1, 3), np.float32), np.ones((5, 3), np.float32)
    for array, fixed in ((row, True), (rows, True), (row, True), (row, False), (rows, False)):
        graph.run({"a": array, "b": array}, fixed=fixed)
    assert compiled == [True, True, False]


@pytest.mark.parametrize(
    ("capabilities", "gains"),
    [
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "AMD Ryzen 5", "avx512_bf16": False}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_bfloat16_is_taken_where_it_pays(capabilities: dict[str, Any], gains: bool) -> None:
    assert gains_by_bfloat16(capabilities) is gains


def test_a_cpu_without_bfloat16_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    with pytest.raises(ValueError, match="computes no bfloat16; choose backend openvino"):
        OpenVinoGraph(_graph(), threads=1, precision="bf16")
