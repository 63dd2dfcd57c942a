"""Every ONNX operator against onnxruntime, on an input the capture's own check has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch.fx import Interpreter

from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.ingest import capture, onnx_graph
from tests.lipschitz.ingest.onnx_models import f32, i64, node, onnx_bytes, run_original, weights

IMAGE = (1, 4, 6, 5)
MATRIX = (3, 4)


def agrees(
    nodes: Sequence[NodeProto],
    shape: Sequence[int] | Mapping[str, Sequence[int]],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    offset: float = 0.0,
) -> None:
    inputs = shape if isinstance(shape, Mapping) else {"x": shape}
    data = onnx_bytes(nodes, inputs, outputs, constants, opset)
    captured = capture(data, {name: list(size) for name, size in inputs.items()})
    values = [weights(*size, seed=99 + k) + np.float32(offset) for k, size in enumerate(inputs.values())]
    expected = run_original(data, values)
    found = Interpreter(captured.graph).run(*(torch.from_numpy(value).double() for value in values))
    assert len(expected) == len(found)
    for y, z in zip(expected, found, strict=True):
        assert y.shape == tuple(z.shape)
        np.testing.assert_allclose(z.numpy(), y, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "operator",
    ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh", "Floor",
     "Ceil", "Round", "Sign", "Softplus", "Softsign", "HardSwish", "Elu", "Selu", "Celu", "LeakyRelu",
     "HardSigmoid", "ThresholdedRelu", "Shrink", "Identity", "Softmax", "LogSoftmax", "ReduceMean", "ReduceSum",
     "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "LpNormalization",
     "ReduceProd", "Flatten", "Transpose", "Squeeze", "Dropout", "Mish"],
)  # fmt: skip
def test_operators_without_parameters(operator: str) -> None:
    agrees([node(operator, ["x"], ["y"])], MATRIX, opset=18)


@pytest.mark.parametrize("operator", ["Log", "Sqrt", "Reciprocal", "ReduceLogSum", "Acosh"])
def test_operators_on_positive_numbers(operator: str) -> None:
    constants = {"two": f32(2.0)}
    nodes = [node("Abs", ["x"], ["a"]), node("Add", ["a", "two"], ["b"]), node(operator, ["b"], ["y"])]
    agrees(nodes, MATRIX, constants)


@pytest.mark.parametrize("operator", ["Tan", "Asin", "Acos", "Atanh"])
def test_operators_on_a_bounded_interval(operator: str) -> None:
    constants = {"half": f32(0.5)}
    nodes = [node("Tanh", ["x"], ["a"]), node("Mul", ["a", "half"], ["b"]), node(operator, ["b"], ["y"])]
    agrees(nodes, MATRIX, constants)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean"])
def test_arithmetic_with_broadcast(operator: str) -> None:
    constants = {"c": f32(0.5, 2.0, 3.0, 1.0)}
    agrees([node("Abs", ["x"], ["a"]), node(operator, ["a", "c"], ["y"])], MATRIX, constants)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5])
def test_stored_exponents_become_numbers(exponent: float) -> None:
    nodes = [node("Abs", ["x"], ["a"]), node("Pow", ["a", "e"], ["y"])]
    agrees(nodes, MATRIX, {"e": np.float32(exponent)})
    captured = capture(onnx_bytes(nodes, {"x": MATRIX}, ["y"], {"e": np.float32(exponent)}))
    assert torch.ops.aten.pow.Tensor_Scalar in {n.target for n in captured.graph.graph.nodes}


@pytest.mark.parametrize("fmod", [0, 1])
def test_modulo(fmod: int) -> None:
    agrees([node("Mod", ["x", "c"], ["y"], fmod=1)], MATRIX, {"c": f32(0.7)})


def test_comparison_selects() -> None:
    nodes = [node("Greater", ["x", "c"], ["m"]), node("Not", ["m"], ["n"]), node("Or", ["m", "n"], ["o"]),
             node("And", ["m", "o"], ["p"]), node("Where", ["p", "x", "c"], ["y"])]  # fmt: skip
    agrees(nodes, MATRIX, {"c": f32(0.1)})


def test_operator_sets_without_kernels_in_onnxruntime() -> None:
    bias = weights(4)
    nodes = [node("Add", ["x", "c"], ["y"], broadcast=1, axis=1)]
    captured = capture(onnx_bytes(nodes, {"x": MATRIX}, ["y"], {"c": bias}, opset=6))
    x = torch.from_numpy(weights(*MATRIX)).double()
    (found,) = Interpreter(captured.graph).run(x)
    torch.testing.assert_close(found, x + torch.from_numpy(bias).double())


@pytest.mark.parametrize(("opset", "attributes", "constants"), [
    (6, {"min": -0.5, "max": 0.25}, {}),
    (10, {"max": 0.25}, {}),
    (13, {}, {"lo": np.float32(-0.5), "hi": np.float32(0.25)}),
    (13, {}, {"lo": np.float32(-0.5)}),
])  # fmt: skip
def test_clip(opset: int, attributes: dict[str, float], constants: dict[str, Any]) -> None:
    agrees([node("Clip", ["x", *constants], ["y"], **attributes)], MATRIX, constants, opset)


def test_clip_with_a_computed_bound() -> None:
    nodes = [node("Add", ["c", "c"], ["hi"]), node("Clip", ["x", "", "hi"], ["y"])]
    agrees(nodes, MATRIX, {"c": np.float32(0.1)})


@pytest.mark.parametrize("slope", [(1,), (4,), (4, 1, 1), (1, 4, 1, 1), (6, 5)])
def test_prelu(slope: tuple[int, ...]) -> None:
    if slope == (4,):
        agrees([node("PRelu", ["x", "s"], ["y"])], MATRIX, {"s": weights(*slope)})
    else:
        agrees([node("PRelu", ["x", "s"], ["y"])], IMAGE, {"s": weights(*slope)})


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    agrees([node("Gelu", ["x"], ["y"], approximate=approximate)], MATRIX, opset=20)


@pytest.mark.parametrize("attributes", [
    {}, {"transB": 1}, {"transA": 1}, {"alpha": 0.5, "beta": 2.0}, {"alpha": 0.3, "transB": 1},
])  # fmt: skip
@pytest.mark.parametrize("bias", [(2,), (1, 2), (), None])
def test_gemm(attributes: dict[str, Any], bias: tuple[int, ...] | None) -> None:
    inner = 3 if attributes.get("transA") else 4
    constants = {"w": weights(*((2, inner) if attributes.get("transB") else (inner, 2)))}
    if bias is not None:
        constants["c"] = weights(*bias)
    agrees([node("Gemm", ["x", *constants], ["y"], **attributes)], MATRIX, constants)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 2, 3, 4)])
def test_matmul(shape: tuple[int, ...]) -> None:
    agrees([node("MatMul", ["x", "w"], ["y"])], shape, {"w": weights(4, 5)})


def test_einsum() -> None:
    agrees([node("Einsum", ["x", "w"], ["y"], equation="bi,ij->bj")], MATRIX, {"w": weights(4, 5)})


CONVOLUTIONS = [
    {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]}, {"strides": [2, 3]}, {"dilations": [2, 1]}, {"group": 2},
    {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"auto_pad": "VALID"},
    {"auto_pad": "SAME_UPPER", "strides": [3, 2]}, {"auto_pad": "NOTSET"},
]  # fmt: skip


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_convolution(attributes: dict[str, Any]) -> None:
    constants = {"w": weights(6, 4 // attributes.get("group", 1), 3, 2), "b": weights(6)}
    agrees([node("Conv", ["x", "w", "b"], ["y"], **attributes)], IMAGE, constants)


@pytest.mark.parametrize("attributes", [
    {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 1, 0]}, {"strides": [2, 2], "output_padding": [1, 0]}, {"group": 2},
    {"dilations": [2, 2]}, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"strides": [2, 2], "output_shape": [12, 10]},
])  # fmt: skip
def test_transposed_convolution(attributes: dict[str, Any]) -> None:
    constants = {"w": weights(4, 2, 3, 3), "b": weights(2 * attributes.get("group", 1))}
    agrees([node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)], IMAGE, constants)


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutions_of_other_ranks(rank: int) -> None:
    constants = {"w": weights(2, 3, *[2] * rank)}
    agrees([node("Conv", ["x", "w"], ["y"])], (1, 3, *[5] * rank), constants)


def test_weights_made_by_nodes() -> None:
    fill = numpy_helper.from_array(f32(0.25))
    nodes = [node("ConstantOfShape", ["s"], ["w"], value=fill), node("Conv", ["x", "w"], ["y"])]
    agrees(nodes, IMAGE, {"s": i64(2, 4, 3, 3)})


POOLS = [
    {}, {"strides": [2, 2]}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 0, 1, 1], "strides": [2, 2]},
    {"pads": [1, 0, 0, 1]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"ceil_mode": 1, "strides": [2, 2]}, {"ceil_mode": 1, "strides": [2, 2], "pads": [1, 1, 1, 1]},
]  # fmt: skip


@pytest.mark.parametrize("attributes", [*POOLS, {"dilations": [2, 1]}])
def test_max_pool(attributes: dict[str, Any]) -> None:
    agrees([node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], **attributes)], IMAGE)


@pytest.mark.parametrize("attributes", POOLS)
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(attributes: dict[str, Any], include: int) -> None:
    nodes = [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], count_include_pad=include, **attributes)]
    agrees(nodes, IMAGE, opset=19)


def test_tf_style_max_pool_needs_no_infinite_padding() -> None:
    nodes = [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")]
    captured = capture(onnx_bytes(nodes, {"x": (1, 1, 6, 6)}, ["y"]))
    assert torch.ops.aten.constant_pad_nd.default not in {n.target for n in captured.graph.graph.nodes}


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pool(operator: str) -> None:
    agrees([node(operator, ["x"], ["y"])], IMAGE)


@pytest.mark.parametrize("opset", [8, 13, 17])
def test_batch_normalization(opset: int) -> None:
    constants = {"s": weights(4), "b": weights(4, seed=1), "m": weights(4, seed=2), "v": np.abs(weights(4)) + 0.1}
    agrees([node("BatchNormalization", ["x", *constants], ["y"], epsilon=1e-3)], IMAGE, constants, opset)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_normalization(axis: int) -> None:
    size = IMAGE[axis:] if axis > 0 else IMAGE[-1:]
    constants = {"s": weights(*size), "b": weights(*size)}
    agrees([node("LayerNormalization", ["x", "s", "b"], ["y"], axis=axis, epsilon=1e-2)], IMAGE, constants)


def test_instance_and_group_normalization() -> None:
    constants = {"s": weights(4), "b": weights(4)}
    agrees([node("InstanceNormalization", ["x", "s", "b"], ["y"])], IMAGE, constants)
    agrees([node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)], IMAGE, constants, opset=21)


def test_normalizations_without_learned_scale() -> None:
    agrees([node("LRN", ["x"], ["y"], size=3)], IMAGE)
    agrees([node("MeanVarianceNormalization", ["x"], ["y"])], IMAGE)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (13, 1), (13, -1)])
def test_softmax_over_one_axis_or_all_later_ones(operator: str, opset: int, axis: int) -> None:
    agrees([node(operator, ["x"], ["y"], axis=axis)], (2, 3, 4), opset=opset)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceMax"])
def test_reductions_with_axes_as_attribute_and_as_input(operator: str) -> None:
    old = 11 if operator == "ReduceSum" else 13
    agrees([node(operator, ["x"], ["y"], axes=[1, -1], keepdims=0)], IMAGE, opset=old)
    agrees([node(operator, ["x", "axes"], ["y"], keepdims=0)], IMAGE, {"axes": i64(1, -1)}, opset=18)
    agrees([node(operator, ["x"], ["y"], noop_with_empty_axes=1)], IMAGE, opset=18)


@pytest.mark.parametrize("attributes", [{}, {"reverse": 1}, {"exclusive": 1}, {"reverse": 1, "exclusive": 1}])
def test_cumulative_sum(attributes: dict[str, int]) -> None:
    agrees([node("CumSum", ["x", "axis"], ["y"], **attributes)], MATRIX, {"axis": np.int64(1)})


def test_top_k() -> None:
    agrees([node("TopK", ["x", "k"], ["y", "i"], axis=1)], MATRIX, {"k": i64(2)})


@pytest.mark.parametrize(("shape", "allowzero"), [((0, -1), 0), ((2, 6), 0), ((-1,), 1), ((1, 12), 1)])
def test_reshape(shape: tuple[int, ...], allowzero: int) -> None:
    agrees([node("Reshape", ["x", "s"], ["y"], allowzero=allowzero)], MATRIX, {"s": i64(*shape)})


def test_reshape_to_a_shape_computed_from_the_input() -> None:
    nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]),
             node("Unsqueeze", ["n", "axes"], ["n1"]), node("Concat", ["n1", "rest"], ["t"], axis=0),
             node("Reshape", ["x", "t"], ["y"])]  # fmt: skip
    agrees(nodes, IMAGE, {"zero": np.int64(0), "axes": i64(0), "rest": i64(-1)})


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_flatten(axis: int) -> None:
    agrees([node("Flatten", ["x"], ["y"], axis=axis)], IMAGE)


@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze_and_unsqueeze(opset: int) -> None:
    if opset < 13:
        nodes = [node("Unsqueeze", ["x"], ["u"], axes=[0, -1]), node("Squeeze", ["u"], ["y"], axes=[0])]
        agrees(nodes, MATRIX, opset=opset)
    else:
        nodes = [node("Unsqueeze", ["x", "a"], ["u"]), node("Squeeze", ["u", "b"], ["y"])]
        agrees(nodes, MATRIX, {"a": i64(0, -1), "b": i64(0)}, opset)


def test_transpose_concat_split() -> None:
    agrees([node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])], IMAGE)
    agrees([node("Concat", ["x", "x"], ["y"], axis=-1)], MATRIX)
    agrees([node("Split", ["x"], ["y", "z"], axis=1, split=[1, 3])], MATRIX, opset=11, outputs=("z", "y"))
    agrees([node("Split", ["x", "s"], ["y", "z"], axis=1)], MATRIX, {"s": i64(1, 3)}, outputs=("y", "z"))
    agrees([node("Split", ["x"], ["y", "z"], axis=0, num_outputs=2)], MATRIX, opset=18, outputs=("y", "z"))


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), [
    ((1,), (3,), (1,), (1,)), ((-2,), (100,), (1,), (1,)), ((0, 1), (3, 4), (0, 1), (2, 2)),
    ((-1,), (-100,), (1,), (-1,)), ((3,), (0,), (1,), (-2,)),
])  # fmt: skip
def test_slice(starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...], steps: tuple[int, ...]) -> None:
    constants = {"s": i64(*starts), "e": i64(*ends), "a": i64(*axes), "t": i64(*steps)}
    agrees([node("Slice", ["x", *constants], ["y"])], MATRIX, constants)


def test_slice_with_attributes() -> None:
    agrees([node("Slice", ["x"], ["y"], starts=[1], ends=[3], axes=[1])], MATRIX, opset=9)


@pytest.mark.parametrize("indices", [np.int64(-1), i64(2, 0), i64(0, -1, 1).reshape(3, 1)])
def test_gather(indices: np.ndarray) -> None:
    agrees([node("Gather", ["x", "i"], ["y"], axis=1)], MATRIX, {"i": indices})


def test_gathers_and_scatters_by_address() -> None:
    agrees([node("GatherElements", ["x", "i"], ["y"], axis=1)], MATRIX, {"i": i64(-1, 0, 1).reshape(3, 1)})
    agrees([node("GatherND", ["x", "i"], ["y"])], MATRIX, {"i": i64(0, 1, 2, -1).reshape(2, 2)})
    agrees([node("ScatterND", ["x", "i", "u"], ["y"])], MATRIX, {"i": i64(2, 0).reshape(2, 1), "u": weights(2, 4)})
    constants = {"i": i64(1, -1).reshape(1, 2), "u": weights(1, 2)}
    agrees([node("ScatterElements", ["x", "i", "u"], ["y"], axis=0)], MATRIX, constants)


def test_expand_and_tile() -> None:
    agrees([node("Expand", ["x", "s"], ["y"])], (3, 1), {"s": i64(2, 1, 4)})
    agrees([node("Tile", ["x", "s"], ["y"])], MATRIX, {"s": i64(2, 1)})


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str) -> None:
    constants = {"p": i64(0, 0, 1, 2, 0, 0, 2, 1), "v": np.float32(0.5)}
    names = ["x", "p", "v"] if mode == "constant" else ["x", "p"]
    agrees([node("Pad", names, ["y"], mode=mode)], IMAGE, constants, opset=19)


def test_pad_with_attributes_keeps_its_value() -> None:
    agrees([node("Pad", ["x"], ["y"], pads=[0, 1, 1, 0], value=3.5)], MATRIX, opset=9)


def test_pad_of_chosen_axes() -> None:
    constants = {"p": i64(1, 2), "v": np.float32(1.0), "a": i64(-1)}
    agrees([node("Pad", ["x", "p", "v", "a"], ["y"])], MATRIX, constants, opset=18)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    nodes = [
        node("DepthToSpace", ["x"], ["d"], blocksize=2, mode=mode),
        node("SpaceToDepth", ["d"], ["y"], blocksize=2),
    ]
    agrees(nodes, IMAGE)


RESIZES = [
    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"coordinate_transformation_mode": "half_pixel"},
    {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    {"coordinate_transformation_mode": "align_corners", "nearest_mode": "ceil"},
    {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
    {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
]  # fmt: skip


@pytest.mark.parametrize("attributes", RESIZES)
def test_resize_by_scales_and_to_sizes(attributes: dict[str, Any]) -> None:
    scales = node("Resize", ["x", "", "s"], ["y"], **attributes)
    agrees([scales], IMAGE, {"s": f32(1, 1, 2, 2)})
    if attributes.get("mode") != "cubic":
        agrees([scales], IMAGE, {"s": f32(1, 1, 1.5, 2.5)})
    sizes = node("Resize", ["x", "", "", "s"], ["y"], **attributes)
    agrees([sizes], IMAGE, {"s": i64(1, 4, 9, 7)})


@pytest.mark.parametrize("order", [1, 2])
def test_pooling_by_norms(order: int) -> None:
    agrees([node("LpPool", ["x"], ["y"], p=order, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0])], IMAGE)
    agrees([node("GlobalLpPool", ["x"], ["y"], p=order)], IMAGE)


def test_resize_of_named_axes() -> None:
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel", "axes": [3, 2]}
    agrees([node("Resize", ["x", "", "s"], ["y"], **attributes)], IMAGE, {"s": f32(2, 3)}, opset=18)
    agrees([node("Resize", ["x", "", "", "s"], ["y"], **attributes)], IMAGE, {"s": i64(9, 7)}, opset=18)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(mode: str) -> None:
    agrees([node("Upsample", ["x", "s"], ["y"], mode=mode)], IMAGE, {"s": f32(1, 1, 2, 3)}, opset=9)


def test_dropout_with_two_outputs_keeps_the_batch() -> None:
    nodes = [node("Dropout", ["x"], ["d", "mask"]), node("Relu", ["d"], ["y"])]
    for opset in (7, 10, 13):
        agrees(nodes, MATRIX, opset=opset)


def test_outputs_keep_their_order_and_repeat() -> None:
    nodes = [node("Split", ["x"], ["a", "b"], axis=1), node("Relu", ["a"], ["r"])]
    agrees(nodes, MATRIX, opset=11, outputs=("b", "r", "a"))


def test_several_inputs_by_position() -> None:
    nodes = [node("MatMul", ["p", "w"], ["h"]), node("Add", ["h", "q"], ["y"])]
    agrees(nodes, {"p": (1, 3), "q": (1, 2)}, {"w": weights(3, 2)})


def test_constants_of_every_attribute_form() -> None:
    tensor = numpy_helper.from_array(f32(1.0, 2.0, 3.0, 4.0))
    nodes = [node("Constant", [], ["a"], value=tensor), node("Constant", [], ["b"], value_float=0.5),
             node("Constant", [], ["s"], value_ints=[4, 3]), node("Add", ["x", "a"], ["h"]),
             node("Mul", ["h", "b"], ["k"]), node("Reshape", ["k", "s"], ["y"])]  # fmt: skip
    agrees(nodes, MATRIX)


def test_quantized_weights() -> None:
    constants = {"q": np.array([[1, -2], [3, 4]], dtype=np.int8), "s": f32(0.5, 0.25), "z": np.array([1, 0], np.int8)}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1), node("MatMul", ["x", "w"], ["y"])]
    agrees(nodes, (1, 2), constants)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers(operator: str, gates: int, direction: str) -> None:
    count, hidden, size = 2 if direction == "bidirectional" else 1, 3, 2
    constants = {"w": weights(count, gates * hidden, size), "r": weights(count, gates * hidden, hidden),
                 "b": weights(count, 2 * gates * hidden)}  # fmt: skip
    nodes = [node(operator, ["x", "w", "r", "b"], ["y", "h"], hidden_size=hidden, direction=direction)]
    agrees(nodes, (4, 1, size), constants, outputs=("y", "h"))


def test_gru_with_reset_after_the_product() -> None:
    constants = {"w": weights(1, 9, 2), "r": weights(1, 9, 3), "b": weights(1, 18)}
    nodes = [node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=3, linear_before_reset=1)]
    agrees(nodes, (4, 1, 2), constants)


def branch(scale: float) -> Any:
    body = [node("Constant", [], [f"c{scale}"], value_float=scale), node("Mul", ["x", f"c{scale}"], [f"r{scale}"])]
    return helper.make_graph(body, "b", [], [helper.make_tensor_value_info(f"r{scale}", TensorProto.FLOAT, None)])


@pytest.mark.parametrize("condition", [True, False])
def test_constant_conditions_fold(condition: bool) -> None:
    nodes = [node("If", ["c"], ["y"], then_branch=branch(2.0), else_branch=branch(3.0))]
    agrees(nodes, MATRIX, {"c": np.bool_(condition)})


def test_conditions_on_shapes_fold() -> None:
    nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Equal", ["n", "three"], ["c"]),
             node("If", ["c"], ["y"], then_branch=branch(2.0), else_branch=branch(3.0))]  # fmt: skip
    agrees(nodes, MATRIX, {"zero": np.int64(0), "three": np.int64(3)})


def subgraph(nodes: list[NodeProto], inputs: dict[str, int], outputs: dict[str, int]) -> onnx.GraphProto:
    """The body of a loop, its values by element type."""
    described = [
        [
            helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else [])
            for name, kind in group.items()
        ]
        for group in (inputs, outputs)
    ]
    return helper.make_graph(nodes, "body", *described)


STEP = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "v": TensorProto.FLOAT}


@pytest.mark.parametrize(("trips", "first"), [(3, True), (3, False), (9, True)])
def test_loops_are_unrolled(trips: int, first: bool) -> None:
    nodes = [
        node("Less", ["i", "last"], ["more"]),
        node("Mul", ["v", "c"], ["w"]),
        node("Tanh", ["w"], ["n"]),
        node("ReduceSum", ["n"], ["s"], keepdims=0),
    ]
    outputs = {"more": TensorProto.BOOL, "n": TensorProto.FLOAT} | ({"s": TensorProto.FLOAT} if first else {})
    loop = node("Loop", ["trips", "first", "x"], ["y", "sums"][: len(outputs) - 1], body=subgraph(nodes, STEP, outputs))
    constants = {"trips": np.int64(trips), "first": np.bool_(first), "last": np.int64(4), "c": f32(1.5)}
    agrees([loop], MATRIX, constants, outputs=("y", "sums")[: len(outputs) - 1])


@pytest.mark.parametrize("backward", [0, 1])
def test_scans_are_unrolled(backward: int) -> None:
    kinds = dict.fromkeys(("h", "now"), TensorProto.FLOAT)
    nodes = [node("Add", ["h", "now"], ["s"]), node("Tanh", ["s"], ["t"]), node("Identity", ["t"], ["out"])]
    body = subgraph(nodes, kinds, dict.fromkeys(("t", "out"), TensorProto.FLOAT))
    scan = node("Scan", ["h0", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_axes=[1],
                scan_output_axes=[1], scan_input_directions=[backward], scan_output_directions=[backward])  # fmt: skip
    agrees([scan], MATRIX, {"h0": weights(3)}, outputs=("last", "y"))


@pytest.mark.parametrize("going_on", [node("Identity", ["go"], ["more"]), node("Not", ["off"], ["more"])])
def test_loops_of_very_many_steps_are_refused(going_on: NodeProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where every step hands its condition on, step by step where it computes one."""
    if going_on.op_type == "Not":
        monkeypatch.setattr(onnx_graph, "MOST_STEPS", 64)
    body = subgraph([node("Not", ["go"], ["off"]), going_on, node("Tanh", ["v"], ["n"])], STEP,
                    {"more": TensorProto.BOOL, "n": TensorProto.FLOAT})  # fmt: skip
    data = onnx_bytes(
        [node("Loop", ["trips", "", "x"], ["y"], body=body)], {"x": MATRIX}, ["y"], {"trips": np.int64(10**9)}
    )
    with pytest.raises(UnsupportedOperator, match=f"more than {onnx_graph.MOST_STEPS} steps"):
        capture(data)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("windowed", [False, True])
def test_short_time_fourier_transforms(onesided: int, windowed: bool) -> None:
    nodes = [
        node("HannWindow", ["n"], ["w"]),
        node("STFT", ["x", "step", "w" if windowed else "", "n"], ["y"], onesided=onesided),
    ]
    agrees(nodes, (2, 24, 1), {"n": np.int64(8), "step": np.int64(3)})


@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize(("axis", "length"), [(1, 5), (2, 4), (1, 3)])
def test_fourier_transforms(inverse: int, axis: int, length: int) -> None:
    nodes = [node("DFT", ["x", "n"], ["y"], axis=axis, inverse=inverse)]
    agrees(nodes, (2, 5, 4, 2), {"n": np.int64(length)})


def test_fourier_transform_of_a_real_signal() -> None:
    agrees([node("DFT", ["x", "", "a"], ["y"], onesided=1)], (2, 5, 4, 1), {"a": np.int64(-2)}, opset=20)


@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("window", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(window: str, periodic: int) -> None:
    agrees([node(window, ["n"], ["w"], periodic=periodic), node("Mul", ["x", "w"], ["y"])], (2, 7), {"n": np.int64(7)})


def test_triangle_and_one_hot_masks() -> None:
    nodes = [
        node("OneHot", ["i", "n", "v"], ["m"]),
        node("Trilu", ["m", "k"], ["t"], upper=0),
        node("Mul", ["x", "t"], ["y"]),
    ]
    constants = {"i": i64(0, 2, -1), "n": i64(4), "v": f32(0.5, 2.0), "k": np.int64(1)}
    agrees(nodes, MATRIX, constants)


def test_ranges_and_casts() -> None:
    constants = {"a": np.int64(0), "b": np.int64(4), "d": np.int64(1)}
    nodes = [node("Range", ["a", "b", "d"], ["r"]), node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
             node("Div", ["r", "b"], ["q"]), node("Cast", ["q"], ["g"], to=TensorProto.FLOAT),
             node("Mul", ["x", "f"], ["h"]), node("Add", ["h", "g"], ["y"])]  # fmt: skip
    agrees(nodes, MATRIX, constants)


def test_identity_like_matrix() -> None:
    agrees([node("EyeLike", ["x"], ["e"], k=1), node("Add", ["x", "e"], ["y"])], MATRIX)


def test_onnx2torch_serves_the_long_tail() -> None:
    nodes = [node("IsInf", ["x"], ["m"]), node("Where", ["m", "c", "x"], ["y"])]
    agrees(nodes, MATRIX, {"c": f32(0.0)}, opset=17)
