"""Whole models in places where float64 loses a derivative's digits: the bound is not below the truth."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from app.lipschitz.deadline import NEVER
from app.lipschitz.domain import Box
from app.lipschitz.files import analyze
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from app.lipschitz.walk.autolip import autolip
from tests.lipschitz.helpers import captured

mp = mpmath.mp.clone()
mp.dps = 60


def onnx(steps: Sequence[tuple[str, list[str], str]], **numbers: float) -> bytes:
    """Operators in turn, each with its inputs and its output; float64 throughout."""
    nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in steps]
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1, 1]) for name in "xy"]
    stored = [numpy_helper.from_array(np.array([number]), name) for name, number in numbers.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class Module(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def script(function: Callable[[Tensor], Tensor], size: int = 1) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; its files are still there
        torch.jit.save(torch.jit.trace(Module(function), torch.full((1, size), 0.5, dtype=torch.float64)), buffer)
    return buffer.getvalue()


def by_mp(function: Callable[[mpmath.mpf], mpmath.mpf], x: float) -> float:
    return float(mp.diff(function, mp.mpf(x), h=mp.mpf(10) ** -30 * max(1, abs(x))))


def decay(x: float) -> float:
    """e^-x / (1 + e^-x)^2."""
    return float(mp.exp(-x) / (1 + mp.exp(-x)) ** 2)


SIGMOID = [("Neg", ["x"], "m"), ("Exp", ["m"], "e"), ("Add", ["e", "one"], "s"), ("Div", ["one", "s"], "y")]

CASES: dict[str, tuple[Callable[[], bytes], list[float], list[float], float]] = {
    "CELU": (lambda: script(lambda x: F.celu(x, 0.3)), [-0.2], [-1e-6], math.exp(-1e-6 / 0.3)),
    "expm1": (lambda: script(torch.expm1), [-60.0], [-45.0], math.exp(-45.0)),
    "gate of GLU": (lambda: script(lambda x: F.glu(x, 1), 2), [1.0, 40.0], [1.0, 41.0], decay(40.0)),
    "sigmoid written out": (lambda: onnx(SIGMOID, one=1.0), [40.0], [41.0], decay(40.0)),
    "sigmoid": (lambda: onnx([("Sigmoid", ["x"], "y")]), [40.0], [700.0], decay(40.0)),
    "softsign": (lambda: script(F.softsign), [1e9], [1e12], 1 / (1 + 1e9) ** 2),
    "softsign written out": (
        lambda: script(lambda x: x / (1 + x.abs())), [1e9], [1e12], 1 / (1 + 1e9) ** 2
    ),
    "tanh": (lambda: onnx([("Tanh", ["x"], "y")]), [20.0], [21.0], 4 * math.exp(-40.0) / (1 + math.exp(-40.0)) ** 2),
    "log sigmoid": (lambda: script(F.logsigmoid), [40.0], [50.0], float(mp.exp(-40) / (1 + mp.exp(-40)))),
    "GELU": (lambda: script(F.gelu), [-30.0], [-29.0], abs(by_mp(lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2, -29.0))),
    "Mish": (lambda: script(F.mish), [-50.0], [-49.0], abs(by_mp(lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), -49.0))),
    "ELU": (lambda: script(F.elu), [-746.0], [-740.0], math.exp(-740.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_bound_lies_below_the_truth(case: str) -> None:
    make, lower, upper, truth = CASES[case]
    domain = {"kind": "box", "lower": lower, "upper": upper}
    answer = analyze(make(), {"methods": ["autolip"], "domain": domain, "inputs": {"x": [1, len(lower)]}})
    assert answer["result"]["upper"]["value"] >= truth * (1 - 1e-14)
    assert answer["certificate"]["bound"] >= truth * (1 - 1e-14)


UNDERFLOW: dict[str, tuple[Callable[[Tensor], Tensor], list[float], list[float], float]] = {
    "product": (lambda x: torch.relu(1e300 * (1e100 * (x[:, :1] * x[:, 1:]))), [1e-200] * 2, [2e-200] * 2, 2.8e200),
    "product of large weights": (
        lambda x: torch.relu((1e200 * x[:, :1]) * (1e200 * x[:, 1:])), [1e-200] * 2, [2e-200] * 2, 2.8e200
    ),
    "square": (lambda x: torch.relu(1e300 * (1e100 * (x * x))), [1e-200], [2e-200], 3.9e200),
    "cube": (lambda x: torch.relu(1e300 * x**3), [1e-150], [2e-150], 1.1e1),
    "reciprocal": (lambda x: 1e300 * torch.tanh(1e20 * (1 / x)), [1e300], [1e301], 0.9e-280),
    "exponential": (lambda x: 1e300 * torch.relu(1e100 * torch.exp(x)), [-760.0], [-750.0], 1e74),
    "error function": (lambda x: 1e300 * torch.relu(torch.erf(1e-320 * x)), [1.0], [2.0], 1e-20),
    "sigmoid": (lambda x: 1e300 * torch.sigmoid(x), [-750.0], [-745.0], 1e-24),
}  # fmt: skip


@pytest.mark.parametrize("case", UNDERFLOW)
def test_what_underflows_is_no_certified_zero(case: str) -> None:
    function, lower, upper, truth = UNDERFLOW[case]
    graph = captured(function, (1, len(lower)))
    box = Box(*(torch.tensor(end, dtype=torch.float64) for end in (lower, upper)))
    problem = Problem(graph, build(graph, [0]), "2", box, 0, NEVER, lambda _: None)
    assert float(autolip(problem, {}).value or math.inf) >= truth
