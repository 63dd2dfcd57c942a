"""A batch that the file fixes: one row stands for all where the graph treats its rows one by one, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto

from app.lipschitz.artifact import from_bytes
from app.lipschitz.artifact.captured import Batch
from app.lipschitz.files import analyze
from app.lipschitz.ingest import capture, capture_artifact
from app.lipschitz.ingest.rows import BY_ROW, reshapes_by_row, with_batch
from tests.lipschitz.ingest.onnx_models import i64, node, onnx_bytes, weights

N = 6


def rows_model(nodes: list[NodeProto], constants: Mapping[str, Any], shape: list[int] | None = None) -> bytes:
    return onnx_bytes(nodes, {"x": shape or [N, 4]}, ["y"], constants)


MLP = [node("Gemm", ["x", "w"], ["h"]), node("Relu", ["h"], ["a"]), node("MatMul", ["a", "v"], ["m"]),
       node("Add", ["m", "b"], ["y"])]  # fmt: skip
STORED = {"w": weights(4, 5), "v": weights(5, 3), "b": weights(3)}

INDEPENDENT: dict[str, tuple[list[NodeProto], dict[str, Any], list[int]]] = {
    "mlp": (MLP, STORED, [N, 4]),
    "row constant": ([node("Add", ["x", "c"], ["y"])], {"c": weights(1, 4)}, [N, 4]),
    "reshapes": (
        [node("Reshape", ["x", "s"], ["r"]), node("Softmax", ["r"], ["z"], axis=2), node("Reshape", ["z", "t"], ["y"])],
        {"s": i64(N, 2, 2), "t": i64(-1, 4)}, [N, 4],
    ),
    "images": (
        [node("Conv", ["x", "k"], ["c"], kernel_shape=[2, 2]), node("Relu", ["c"], ["r"]),
         node("GlobalAveragePool", ["r"], ["p"]), node("Flatten", ["p"], ["y"])],
        {"k": weights(3, 2, 2, 2)}, [N, 2, 4, 4],
    ),
    "two ways": (
        [node("Gemm", ["x", "w"], ["h"]), node("Concat", ["h", "x"], ["c"], axis=1),
         node("ReduceMean", ["c"], ["y"], axes=[1])],
        {"w": weights(4, 5)}, [N, 4],
    ),
}  # fmt: skip

MIXED: dict[str, tuple[list[NodeProto], dict[str, Any]]] = {
    "a constant for each row": ([node("Add", ["x", "c"], ["y"])], {"c": weights(N, 4)}),
    "another rank": ([node("Add", ["x", "c"], ["y"])], {"c": weights(1, N, 4)}),
    "a sum over rows": ([node("ReduceSum", ["x", "a"], ["y"])], {"a": i64(0)}),
    "a softmax over rows": ([node("Softmax", ["x"], ["y"], axis=0)], {}),
    "a product from the left": ([node("MatMul", ["c", "x"], ["y"])], {"c": weights(N, N)}),
    "a transposed product": ([node("Gemm", ["x", "c"], ["y"], transA=1)], {"c": weights(N, 3)}),
    "rows beside one another": ([node("Concat", ["x", "x"], ["y"], axis=0)], {}),
    "a transpose": ([node("Transpose", ["x"], ["y"], perm=[1, 0])], {}),
    "one row of all": ([node("Reshape", ["x", "s"], ["y"])], {"s": i64(1, -1)}),
    "halves of rows": ([node("Reshape", ["x", "s"], ["y"])], {"s": i64(2 * N, 2)}),
    "some rows": ([node("Gather", ["x", "i"], ["y"], axis=0)], {"i": i64(1, 0)}),
    "an unknown operator": ([node("CumSum", ["x", "a"], ["y"])], {"a": np.array(0)}),
    "positions of maxima": (
        [node("Reshape", ["x", "s"], ["u"]), node("MaxPool", ["u"], ["p", "y"], kernel_shape=[2])],
        {"s": i64(N, 1, 4)},
    ),
    "limits for each row": ([node("Clip", ["x", "c"], ["y"])], {"c": weights(N, 4)}),
    "a scale for each row": ([node("LayerNormalization", ["x", "c"], ["y"])], {"c": weights(N, 4)}),
    "bias for each row": ([node("Gemm", ["x", "w", "c"], ["y"])], {"w": weights(4, 3), "c": weights(N, 3)}),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_one_row_stands_for_all(name: str) -> None:
    nodes, constants, shape = INDEPENDENT[name]
    captured = capture(rows_model(nodes, constants, shape))
    assert captured.batch == Batch(1, N, BY_ROW)
    assert [spec.shape[0] for spec in (*captured.inputs, *captured.outputs)] == [1, 1]
    assert captured.inspection.inputs[0].shape == tuple(shape)
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    (whole,) = capture(rows_model(nodes, constants, shape), [shape]).graph(torch.from_numpy(x).double())
    each = [captured.graph(torch.from_numpy(x[i : i + 1]).double())[0] for i in range(N)]
    torch.testing.assert_close(whole, torch.cat(each))


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_may_mix_are_taken_as_the_file_says(name: str) -> None:
    data = rows_model(*MIXED[name])
    assert reshapes_by_row(onnx.load_model_from_string(data), N) is None


def test_halves_that_only_look_like_rows() -> None:
    """The target's first size is open, and comes out as twice the batch."""
    data = rows_model([node("Reshape", ["x", "s"], ["y"])], {"s": i64(-1, 2)})
    captured = capture(data)
    assert (captured.batch, captured.inputs[0].shape) == (None, (N, 4))


def test_inputs_override_a_fixed_batch() -> None:
    data = rows_model(MLP, STORED)
    assert capture(data, [[N, 4]]).batch is None
    three = capture(data, {"x": [3, 4]})
    assert (three.inputs[0].shape, three.batch) == ((3, 4), Batch(3, N, BY_ROW))
    mixed = capture(rows_model([node("Softmax", ["x"], ["y"], axis=0)], {}), [[2, 4]])
    assert mixed.inputs[0].shape == (2, 4)
    assert mixed.batch is not None
    assert "not proved" in mixed.batch.reason


def test_the_result_says_so_and_the_bound_is_that_of_all_rows() -> None:
    data = rows_model(MLP, STORED)
    one, all_rows = (analyze(data, {"methods": ["autolip"], "inputs": inputs})["result"] for inputs in (None, [[N, 4]]))
    assert one["batch"] == {"rows": 1, "of": N, "reason": BY_ROW}
    assert all_rows["batch"] is None
    assert one["upper"]["value"] == pytest.approx(all_rows["upper"]["value"], rel=1e-9)
    assert from_bytes(capture_artifact(data)).batch == Batch(1, N, BY_ROW)


def test_a_huge_batch_costs_one_row() -> None:
    captured = capture(rows_model(MLP, STORED, [789_444, 4]))
    assert captured.batch is not None
    assert captured.batch.of == 789_444
    assert captured.inputs[0].shape == (1, 4)


def test_a_function_by_an_operators_name_may_mix_rows() -> None:
    model = onnx.load_model_from_string(rows_model([node("Relu", ["x"], ["y"])], {}))
    body = [node("Softmax", ["x"], ["y"], axis=0)]
    assert reshapes_by_row(model, N) is not None
    model.functions.append(onnx.helper.make_function("", "Relu", ["x"], ["y"], body, model.opset_import))
    assert reshapes_by_row(model, N) is None


def test_another_batch_changes_no_constant_of_the_models_own() -> None:
    """The shape that is written for the first node has a name that the model already gives to a factor."""
    nodes, stored = [node("Reshape", ["x", "s"], ["r"]), node("Mul", ["r", "lipserve_shape_0"], ["y"])], i64(N, 4)
    model = onnx.load_model_from_string(rows_model(nodes, {"s": stored, "lipserve_shape_0": weights(2)}, [N, 4]))
    reshapes = reshapes_by_row(model, N)
    assert reshapes is not None
    names = [tensor.name for tensor in with_batch(model, 1, reshapes).graph.initializer]
    assert len({*names}) == len(names) == 3
