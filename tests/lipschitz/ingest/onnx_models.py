"""Small ONNX models, built from nodes and arrays, and onnxruntime's word on what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

node = helper.make_node

IR_VERSION = {17: 8, 18: 8, 20: 9, 21: 10, 23: 11}


def onnx_bytes(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
    input_type: int = TensorProto.FLOAT,
) -> bytes:
    """A serialised model; outputs are declared without shape, constants are float32 or int64 arrays."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid(domain, opset if domain == "" else 1) for domain in {"", *(n.domain for n in nodes)}]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION.get(opset, 8))
    for value in model.graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model.SerializeToString()


def run_original(data: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def f32(*values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def mlp(batch: int | str = "batch", seed: int = 0) -> bytes:
    """3 -> 4 -> 2 with a ReLU, layers called fc0 and fc1."""
    constants = {
        "w0": weights(4, 3, seed=seed),
        "b0": weights(4, seed=seed + 1),
        "w1": weights(2, 4, seed=seed + 2),
        "b1": weights(2, seed=seed + 3),
    }
    nodes = [
        node("Gemm", ["x", "w0", "b0"], ["h"], name="fc0", transB=1),
        node("Relu", ["h"], ["a"], name="act"),
        node("Gemm", ["a", "w1", "b1"], ["y"], name="fc1", transB=1),
    ]
    return onnx_bytes(nodes, {"x": [batch, 3]}, ["y"], constants)
