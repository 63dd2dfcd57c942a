"""ONNX files made on the spot: chains of Gemm layers with an activation between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

PUBLISHED = Path(__file__).resolve().parents[1] / "data" / "published"


def mlp(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray] | None = None, act: str = "Relu", dtype=np.float64
) -> bytes:
    """A network of `Gemm` nodes `fc0, fc1, ...` on input `x` of shape (1, n)."""
    kind = TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT
    nodes, stored, x = [], [], "x"
    for i, weight in enumerate(weights):
        bias = np.zeros(weight.shape[0]) if biases is None else biases[i]
        stored += [numpy_helper.from_array(weight.astype(dtype), f"W{i}")]
        stored += [numpy_helper.from_array(bias.astype(dtype), f"b{i}")]
        last = i == len(weights) - 1
        out = "y" if last else f"v{i}"
        nodes.append(helper.make_node("Gemm", [x, f"W{i}", f"b{i}"], [out], transB=1, name=f"fc{i}"))
        if not last:
            nodes.append(helper.make_node(act, [out], [f"z{i}"], name=f"act{i}"))
            x = f"z{i}"
    ends = (
        helper.make_tensor_value_info("x", kind, [1, weights[0].shape[1]]),
        helper.make_tensor_value_info("y", kind, [1, weights[-1].shape[0]]),
    )
    graph = helper.make_graph(nodes, "mlp", [ends[0]], [ends[1]], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def published(name: str) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Weights and biases of a network with a known answer."""
    stored = np.load(PUBLISHED / f"{name}.npz")
    count = sum(key.startswith("W") for key in stored.files)
    biases = [stored[f"b{i}"] for i in range(count)] if "b0" in stored.files else None
    return [stored[f"W{i}"] for i in range(count)], biases
