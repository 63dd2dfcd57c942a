"""A model of two neurons, run once at start, so that the first real job finds everything imported.

What is still imported later can be: the files of Python and its packages stay readable.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ..lipschitz.files import analyze
from ..lipschitz.ingest import inspect


def tiny_model() -> bytes:
    """Serialized ONNX of x -> relu(x W) W with x of shape `(1, 2)` and W orthogonal."""
    weight = numpy_helper.from_array(np.array([[0, 1], [1, 0]], dtype=np.float32), "W")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    nodes = [
        helper.make_node("Gemm", ["x", "W"], ["u"], name="first"),
        helper.make_node("Relu", ["u"], ["v"], name="relu"),
        helper.make_node("Gemm", ["v", "W"], ["y"], name="last"),
    ]
    graph = helper.make_graph(nodes, "warm-up", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


REQUEST: dict[str, object] = {
    "methods": "auto",
    "inputs": None,
    "input": None,
    "output": None,
    "norm": "2",
    "domain": {"kind": "all"},
    "target": {"kind": "all"},
    "options": {},
    "budget_s": 1.0,
    "seed": 0,
    "gate": None,
    "certify": False,
}


def run() -> None:
    """Inspect and analyse the tiny model."""
    model = tiny_model()
    inspect(model)
    analyze(model, REQUEST)
