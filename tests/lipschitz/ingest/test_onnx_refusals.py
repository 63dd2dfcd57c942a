"""What an ONNX file may hold and Lipserve must not accept: each refusal with its kind and its words."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.lipschitz.errors import (
    DataDependentControlFlow,
    Discontinuous,
    InvalidInputs,
    InvalidModel,
    UnsupportedOperator,
)
from app.lipschitz.files import analyze
from app.lipschitz.ingest import capture, inspect
from app.lipschitz.ingest.onnx_ops import fallback
from tests.lipschitz.ingest.onnx_models import f32, i64, mlp, node, onnx_bytes, weights
from tests.lipschitz.ingest.test_onnx_operators import branch

SHAPE = (1, 4)


def edited(data: bytes, change: Any) -> bytes:
    model = onnx.load_model_from_string(data)
    change(model)
    return model.SerializeToString()


def test_inspection_of_an_mlp() -> None:
    found = inspect(mlp())
    assert found.format == "onnx"
    assert [(spec.name, spec.datatype, spec.shape) for spec in found.inputs] == [("x", "FP32", (-1, 3))]
    assert found.outputs[0].name == "y"
    assert found.parameters == 4 * 3 + 4 + 2 * 4 + 2
    assert found.operators == {"Gemm": 2, "Relu": 1}
    assert found.unsupported == ()


def test_external_data_is_never_followed() -> None:
    def outside(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    with pytest.raises(InvalidModel, match="beside the model"):
        inspect(edited(mlp(), outside))


def test_negative_dimensions() -> None:
    with pytest.raises(InvalidModel, match="negative dimension"):
        inspect(edited(mlp(), lambda model: model.graph.initializer[0].dims.__setitem__(0, -4)))
    with pytest.raises(InvalidModel, match="negative dimension"):
        inspect(onnx_bytes([node("Relu", ["x"], ["y"])], {"x": [-2, 3]}, ["y"]))


def test_an_open_dimension_may_be_written_as_minus_one() -> None:
    captured = capture(onnx_bytes([node("Relu", ["x"], ["y"])], {"x": [-1, 3]}, ["y"]))
    assert captured.inputs[0].shape == (1, 3)


def test_tensors_must_be_as_long_as_declared() -> None:
    with pytest.raises(InvalidModel, match=r"holds 48 bytes, not"):
        inspect(edited(mlp(), lambda model: model.graph.initializer[0].dims.__setitem__(0, 10**12)))

    def without_bytes(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].ClearField("raw_data")
        model.graph.initializer[0].dims[0] = 10**12

    with pytest.raises(InvalidModel, match="shorter than declared"):
        inspect(edited(mlp(), without_bytes))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_weights(value: float) -> None:
    w = weights(4, 2)
    w[1, 1] = value
    with pytest.raises(InvalidModel, match="NaN or infinite"):
        inspect(onnx_bytes([node("MatMul", ["x", "w"], ["y"])], {"x": SHAPE}, ["y"], {"w": w}))


def test_infinite_masks_are_no_broken_weights() -> None:
    constants = {"m": np.array([True, False, True, True]), "inf": np.float32(-np.inf)}
    nodes = [node("Where", ["m", "x", "inf"], ["h"]), node("Softmax", ["h"], ["y"])]
    assert capture(onnx_bytes(nodes, {"x": SHAPE}, ["y"], constants)).outputs[0].shape == SHAPE


def test_unknown_domains_and_operators_are_named() -> None:
    foreign = onnx_bytes([node("Warp", ["x"], ["y"], name="w", domain="com.example")], {"x": SHAPE}, ["y"])
    with_domain = edited(foreign, lambda m: m.opset_import.append(helper.make_opsetid("com.example", 1)))
    assert inspect(with_domain).unsupported == ("com.example.Warp",)
    with pytest.raises(UnsupportedOperator, match=r"Warp \(domain 'com.example'\) at 'w'"):
        capture(with_domain)
    unknown = onnx_bytes([node("Det", ["x"], ["y"], name="d")], {"x": (2, 2)}, ["y"])
    assert inspect(unknown).unsupported == ("Det",)
    with pytest.raises(UnsupportedOperator, match=r"Det \(domain 'ai.onnx'\) at 'd'"):
        capture(unknown)


def test_without_the_long_tail_its_operators_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnx2torch needs torchvision, whose binaries fit one torch alone."""
    fallback._converters.cache_clear()
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "onnx2torch", None)  # what import then raises is an ImportError
        data = onnx_bytes([node("Identity", ["x"], ["h"]), node("IsInf", ["h"], ["y"])], {"x": SHAPE}, ["y"])
        assert inspect(data).unsupported == ("IsInf",)
        with pytest.raises(UnsupportedOperator, match=r"IsInf \(domain 'ai.onnx'\)"):
            capture(data)
    fallback._converters.cache_clear()


def test_activations_are_not_quantised_silently() -> None:
    constants = {"s": np.float32(0.1), "z": np.uint8(3)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    with pytest.raises(Discontinuous, match=r"QuantizeLinear.*send the float model"):
        analyze(onnx_bytes(nodes, {"x": SHAPE}, ["y"], constants), {"methods": ["autolip"]})


def test_integer_inputs() -> None:
    data = onnx_bytes([node("Cast", ["x"], ["y"], to=1)], {"x": SHAPE}, ["y"], input_type=TensorProto.INT64)
    with pytest.raises(UnsupportedOperator, match="'x' is INT64"):
        capture(data)


def test_open_dimensions_are_asked_for_by_name() -> None:
    data = onnx_bytes([node("Relu", ["x"], ["y"])], {"x": ["batch", 3, "height", "width"]}, ["y"])
    with pytest.raises(InvalidInputs, match=r"axis 2 \(height\), axis 3 \(width\)"):
        capture(data)
    assert capture(data, {"x": [2, 3, 4, 5]}).inputs[0].shape == (2, 3, 4, 5)
    assert capture(data, [[1, 3, 4, 5]]).outputs[0].shape == (1, 3, 4, 5)


def test_open_axes_that_are_named_for_what_they_are() -> None:
    data = onnx_bytes([node("Relu", ["x"], ["y"])], {"x": ["batch", "sequence_length", 4]}, ["y"])
    captured = capture(data)
    assert captured.inputs[0].shape == (1, 16, 4)
    assert captured.warnings == (
        "Axis 1 ('sequence_length') of input 'x' is open in the file and was taken to be 16: give inputs for another "
        "size.",
    )
    assert (capture(data, [[1, 5, 4]]).inputs[0].shape, capture(data, [[1, 5, 4]]).warnings) == ((1, 5, 4), ())
    behind = onnx_bytes([node("Relu", ["x"], ["y"])], {"x": [5, "batch_size", 4]}, ["y"])
    assert capture(behind).inputs[0].shape == (5, 1, 4)  # not every size is known, so the first is as the file says


def test_batch_is_one_everywhere_and_given_symbols_are_shared() -> None:
    nodes = [node("Concat", ["x", "h"], ["y"], axis=0)]
    data = onnx_bytes(nodes, {"x": ["batch", "n"], "h": [2, "n"]}, ["y"])
    captured = capture(data, {"x": [1, 3]})
    assert [spec.shape for spec in captured.inputs] == [(1, 3), (2, 3)]


@pytest.mark.parametrize("shapes", [{"z": [1, 3]}, {"x": [1, 4]}, {"x": [3]}, {"x": [0, 3]}, [[1, 3], [1, 3]]])
def test_shapes_that_do_not_fit(shapes: Any) -> None:
    with pytest.raises(InvalidInputs):
        capture(mlp(), shapes)


def test_inputs_of_unknown_rank_need_a_shape() -> None:
    def forget(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.ClearField("shape")

    data = edited(mlp(), forget)
    with pytest.raises(InvalidInputs, match="says nothing about the shape"):
        capture(data)
    assert capture(data, [[1, 3]]).outputs[0].shape == (1, 2)


def test_conditions_on_the_input() -> None:
    nodes = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"]),
             node("If", ["c"], ["y"], name="fork", then_branch=branch(2.0), else_branch=branch(3.0))]  # fmt: skip
    with pytest.raises(DataDependentControlFlow, match="If at 'fork'"):
        capture(onnx_bytes(nodes, {"x": SHAPE}, ["y"], {"zero": np.float32(0)}))


def test_loops_that_the_input_steers() -> None:
    body = helper.make_graph(
        [
            node("Greater", ["v", "zero"], ["m"]),
            node("ReduceMax", ["m"], ["c2"], keepdims=0),
            node("Add", ["v", "v"], ["v2"]),
        ],
        "body",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in
         (("i", TensorProto.INT64, []), ("c", TensorProto.BOOL, []), ("v", TensorProto.FLOAT, None))],
        [helper.make_tensor_value_info(n, t, s) for n, t, s in
         (("c2", TensorProto.BOOL, []), ("v2", TensorProto.FLOAT, None))],
    )  # fmt: skip
    nodes = [node("Loop", ["n", "go", "x"], ["y"], name="again", body=body)]
    with pytest.raises(DataDependentControlFlow, match="Loop at 'again'"):
        capture(onnx_bytes(nodes, {"x": SHAPE}, ["y"], {"n": np.int64(3), "go": np.bool_(True), "zero": f32(0)}))


def test_sizes_that_depend_on_the_input() -> None:
    nodes = [node("NonZero", ["x"], ["i"]), node("Cast", ["i"], ["y"], to=1)]
    with pytest.raises(DataDependentControlFlow, match="NonZero"):
        capture(onnx_bytes(nodes, {"x": SHAPE}, ["y"]))
    nodes = [node("Cast", ["x"], ["s"], to=TensorProto.INT64), node("ConstantOfShape", ["s"], ["y"])]
    with pytest.raises(DataDependentControlFlow, match="ConstantOfShape"):
        capture(onnx_bytes(nodes, {"x": (2,)}, ["y"]))


def test_absurd_sizes_are_not_allocated() -> None:
    constants = {"s": i64(10**6, 10**6, 10**6)}
    for nodes in (
        [node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])],
        [node("Expand", ["x", "s"], ["y"])],
        [node("Tile", ["x", "s"], ["y"])],
    ):
        with pytest.raises(InvalidModel, match="asks for a tensor"):
            capture(onnx_bytes(nodes, {"x": (1, 1, 1)}, ["y"], constants))


def test_outputs_that_are_not_captured_are_missed() -> None:
    nodes = [node("LayerNormalization", ["x", "s"], ["y", "mean"]), node("Relu", ["mean"], ["z"])]
    with pytest.raises(UnsupportedOperator, match="'mean'"):
        capture(onnx_bytes(nodes, {"x": SHAPE}, ["z"], {"s": f32(1, 1, 1, 1)}))


def test_training_forms() -> None:
    constants = {"s": weights(4), "b": weights(4), "m": weights(4), "v": np.abs(weights(4))}
    nodes = [node("BatchNormalization", ["x", *constants], ["y", "mo", "vo"], training_mode=1)]
    with pytest.raises(UnsupportedOperator, match="training mode"):
        capture(onnx_bytes(nodes, {"x": (2, 4)}, ["y"], constants))


def test_deeply_nested_subgraphs() -> None:
    graph = branch(2.0)
    for level in range(20):
        inner = node("If", ["c"], [f"o{level}"], then_branch=graph)
        graph = helper.make_graph([inner], "g", [], [helper.make_tensor_value_info(f"o{level}", 1, None)])
    nodes = [node("If", ["c"], ["y"], then_branch=graph, else_branch=branch(3.0))]
    with pytest.raises(InvalidModel, match="nested deeper"):
        inspect(onnx_bytes(nodes, {"x": SHAPE}, ["y"], {"c": np.bool_(True)}))


def test_local_functions_are_inlined() -> None:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    data = onnx_bytes([node("Twice", ["x"], ["y"], domain="local")], {"x": SHAPE}, ["y"])

    def add(model: onnx.ModelProto) -> None:
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("local", 1))

    captured = capture(edited(data, add))
    assert captured.inspection.unsupported == ()
    assert captured.outputs[0].shape == SHAPE


def test_files_without_operator_set() -> None:
    with pytest.raises(InvalidModel, match="operator set"):
        inspect(edited(mlp(), lambda model: model.ClearField("opset_import")))


def test_initializers_listed_among_the_inputs_are_no_inputs() -> None:
    def list_them(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, 1, tensor.dims))

    assert [spec.name for spec in capture(edited(mlp(), list_them)).inputs] == ["x"]


def test_strings_are_no_constants() -> None:
    text = numpy_helper.from_array(np.array(["a"], dtype=object), "t")
    data = onnx_bytes([node("Relu", ["x"], ["y"])], {"x": SHAPE}, ["y"])
    with pytest.raises(UnsupportedOperator, match="STRING"):
        capture(edited(data, lambda model: model.graph.initializer.append(text)))
