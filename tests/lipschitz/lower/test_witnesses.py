"""Every lower bound's witness, evaluated by onnxruntime in float64, attains its value and lies in the domain."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from app.lipschitz.files import analyze
from tests.lipschitz.helpers import ORDER
from tests.lipschitz.onnx_networks import mlp, published

METHODS = ("gradient", "annealing", "grid", "dataset")
OPTIONS = {
    "gradient": {"scouts": 64, "climbers": 8, "seconds": 60.0},
    "annealing": {"chains": 4, "steps": 20, "seconds": 60.0},
    "grid": {"points": 500, "seconds": 60.0},
    "dataset": {"seconds": 60.0},
}
ROWS = 40
Model = tuple[bytes, bytes, tuple[int, ...]]
"""The analysed file, one in float64 that onnxruntime can run, and the shape of the input."""


def random_mlp(sizes: list[int], act: str, seed: int) -> Model:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]
    data = mlp(weights, [rng.standard_normal(len(weight)) for weight in weights], act)
    return data, data, (1, sizes[0])


def published_mlp(name: str) -> Model:
    weights, biases = published(name)
    data = mlp(weights, biases)
    return data, data, (1, weights[0].shape[1])


def convolutional() -> Model:
    """Conv, ReLU, Gemm; onnxruntime has no float64 Conv, so it runs the unrolled matrix."""
    rng = np.random.default_rng(5)
    kernel, bias = rng.standard_normal((3, 2, 3, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    last = rng.standard_normal((4, 75)).astype(np.float32)
    stored = [numpy_helper.from_array(array, name) for name, array in (("K", kernel), ("b", bias), ("W", last))]
    nodes = [
        helper.make_node("Conv", ["x", "K", "b"], ["u"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["u"], ["v"]),
        helper.make_node("Flatten", ["v"], ["w"]),
        helper.make_node("Gemm", ["w", "W"], ["y"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "conv", [x], [y], stored)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    basis = torch.eye(50, dtype=torch.float64).reshape(50, 2, 5, 5)
    unrolled = torch.conv2d(basis, torch.from_numpy(kernel).double(), padding=1).reshape(50, 75).T.numpy()
    layers = [unrolled, last.astype(np.float64)]
    return data, mlp(layers, [np.repeat(bias.astype(np.float64), 25), np.zeros(4)]), (1, 2, 5, 5)


NETWORKS: dict[str, Callable[[], Model]] = {
    "iris": lambda: published_mlp("exlipbab_iris"),
    "wine12": lambda: published_mlp("exlipbab_wine12"),
    "random weights": lambda: published_mlp("lipsdp_random"),
    "tanh": lambda: random_mlp([3, 9, 7, 2], "Tanh", 1),
    "wide and deep": lambda: random_mlp([34, 30, 36], "Relu", 2),
    "convolutional": convolutional,
}
DOMAINS: dict[str, dict[str, Any]] = {
    "all": {"kind": "all"},
    "box": {"kind": "box", "lower": -0.5, "upper": 1.5},
    "ball": {"kind": "ball", "center": "dataset#0", "radius": 0.7},
}


def saved(rows: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows)
    return buffer.getvalue()


def inside(point: np.ndarray, domain: dict[str, Any], center: np.ndarray, norm: str) -> bool:
    if domain["kind"] == "box":
        return bool((point >= domain["lower"]).all() and (point <= domain["upper"]).all())
    if domain["kind"] == "ball":
        return bool(np.linalg.norm((point - center).ravel(), ORDER[norm]) <= domain["radius"])
    return True


QUICK = {("iris", "1", "all"), ("wine12", "2", "box"), ("tanh", "2", "ball"), ("convolutional", "inf", "box")}
"""Every norm and domain at least once; the other combinations are slow."""
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in itertools.product(NETWORKS, ["1", "2", "inf"], DOMAINS)
]


@pytest.mark.parametrize(("name", "norm", "kind"), CASES)
def test_every_witness_attains_its_value(name: str, norm: str, kind: str) -> None:
    data, exported, shape = NETWORKS[name]()
    rows = np.random.default_rng(7).uniform(-0.4, 1.0, (ROWS, *shape))
    session = onnxruntime.InferenceSession(exported)
    size = int(np.prod(shape))
    for method in METHODS:
        fields = {"methods": [method], "options": {method: OPTIONS[method]}, "norm": norm, "domain": DOMAINS[kind]}
        if method == "grid" and size > 8:
            continue
        answer = analyze(data, fields, dataset=saved(rows))
        witness = np.load(io.BytesIO(base64.b64decode(answer["witness"])))
        x, y = witness["x.x"], witness["y.x"]
        assert x.shape == y.shape == shape
        assert inside(x, DOMAINS[kind], rows[0], norm), method
        assert inside(y, DOMAINS[kind], rows[0], norm), method
        (at_x,), (at_y,) = (session.run(None, {"x": point.reshape(1, size)}) for point in (x, y))
        rise, run = (np.linalg.norm(apart.ravel(), ORDER[norm]) for apart in (at_x - at_y, x - y))
        value = answer["result"]["lower"]["value"]
        assert value > 0, method
        assert rise / run == pytest.approx(value, rel=1e-6), method
        assert rise / run >= value * (1 - 1e-9), method
