"""Functions of one tensor written as several operations get the constant of the function."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from app.lipschitz.errors import Discontinuous, LipschitzError, NotGloballyLipschitz
from app.lipschitz.ingest import capture
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Activation
from tests.effort import sampled
from tests.lipschitz.helpers import autolip_of, captured, network_of
from tests.lipschitz.ingest.onnx_models import f32, node, onnx_bytes

ROOT = math.sqrt(2 / math.pi)
SHAPE = (1, 6)

NATIVE = {
    "silu": (lambda x: x * torch.sigmoid(x), F.silu),
    "silu by division": (lambda x: x / (1 + torch.exp(-x)), F.silu),
    "silu, sigmoid written out": (lambda x: x * (1 / (torch.exp(-x) + 1)), F.silu),
    "gelu": (lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), F.gelu),
    "gelu, constant last": (lambda x: (torch.erf(x * 0.7071067811865476) + 1) * x * 0.5, F.gelu),
    "tanh gelu": (
        lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3))), lambda x: F.gelu(x, approximate="tanh")
    ),
    "tanh gelu with products": (
        lambda x: 0.5 * x * (1 + torch.tanh(x * ROOT * (1 + 0.044715 * x * x))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), F.mish),
    "mish, softplus written out": (lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))), F.mish),
    "mish with log1p": (lambda x: x * torch.tanh(torch.log1p(torch.exp(x))), F.mish),
    "hard swish": (lambda x: x * (x + 3).clamp(0, 6) / 6, F.hardswish),
    "hard swish by relu6": (lambda x: x * (F.relu6(x + 3) / 6), F.hardswish),
    "hard swish by hard sigmoid": (lambda x: x * F.hardsigmoid(x), F.hardswish),
    "leaky relu by where": (lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1)),
    "leaky relu by a maximum": (lambda x: torch.maximum(x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1)),
    "leaky relu by two": (lambda x: F.relu(x) - 0.1 * F.relu(-x), lambda x: F.leaky_relu(x, 0.1)),
    "steep leaky relu by two": (lambda x: F.relu(x) - 3 * F.relu(-x), lambda x: F.leaky_relu(x, 3.0)),
    "elu by where": (lambda x: torch.where(x > 0, x, torch.exp(x) - 1), F.elu),
    "softplus": (lambda x: torch.log(1 + torch.exp(x)), F.softplus),
    "sigmoid": (lambda x: 1 / (1 + torch.exp(-x)), torch.sigmoid),
}  # fmt: skip

KNOWN = {
    "softsign": (F.softsign, 1.0),
    "softsign written out": (lambda x: x / (1 + torch.abs(x)), 1.0),
    "tanhshrink": (lambda x: x - torch.tanh(x), 1.0),
    "tanhshrink of torch": (F.tanhshrink, 1.0),
    "quick gelu": (lambda x: x * torch.sigmoid(1.702 * x), 1.099839320128867),
    "smooth modulus": (lambda x: torch.sqrt(x**2 + 1e-3), 1.0),
    "relu minus half": (lambda x: F.relu(x) - 0.5 * x, 0.5),
    "ramp": (lambda x: F.relu(x) - F.relu(x - 1), 1.0),
    "modulus": (lambda x: F.relu(x) + F.relu(-x), 1.0),
    "residual relu": (lambda x: x + F.relu(x), 2.0),
    "x tanh x": (lambda x: x * torch.tanh(x), 1.1996786402577338),
    "gaussian swish": (lambda x: x * torch.exp(-(x * x)), 1.0),
}


@pytest.mark.parametrize("name", sampled(NATIVE, every=2))
def test_primitives_get_the_native_constant(name: str) -> None:
    primitive, native = NATIVE[name]
    expected = autolip_of(network_of(native, SHAPE), "2")
    assert autolip_of(network_of(primitive, SHAPE), "2") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_known_constants(name: str, p: str) -> None:
    function, expected = KNOWN[name]
    assert autolip_of(network_of(function, SHAPE), p) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sampled(NATIVE, every=2))
def test_a_region_becomes_one_activation_whose_slopes_hold_on_intervals(name: str) -> None:
    network = network_of(NATIVE[name][0], SHAPE)
    (activation,) = [node for node in network.nodes if isinstance(node, Activation)]
    generator = torch.Generator().manual_seed(3)
    lower = 6 * torch.randn(200, dtype=torch.float64, generator=generator)
    upper = lower + 3 * torch.rand(200, dtype=torch.float64, generator=generator)
    least, most = activation.scalar.slopes(lower, upper)
    low, high = activation.scalar.range(lower, upper)
    points = lower + (upper - lower) * torch.rand(50, 200, dtype=torch.float64, generator=generator)
    values = activation.scalar.function(points)
    quotients = (values[1:] - values[:-1]) / (points[1:] - points[:-1])
    assert bool(((quotients >= least - 1e-9) & (quotients <= most + 1e-9)).all())
    assert bool(((values >= low) & (values <= high)).all())
    whole = activation.scalar.slope()
    assert bool((least >= whole.lower).all())
    assert bool((most <= whole.upper).all())


def test_narrow_intervals_get_narrow_slopes() -> None:
    network = network_of(NATIVE["gelu"][0], SHAPE)
    (activation,) = [node for node in network.nodes if isinstance(node, Activation)]
    at = torch.linspace(-4, 4, 33, dtype=torch.float64)
    least, most = activation.scalar.slopes(at - 0.01, at + 0.01)
    assert float((most - least).max()) < 0.05


SCALES = {
    "steep swish": (lambda x: x * torch.sigmoid(1e100 * x), 1.0998),
    "steep erf": (lambda x: x * torch.erf(1e200 * x), 1.0),
    "steep sigmoid": (lambda x: 1 / (1 + torch.exp(1e300 * x)), 2.5e299),
    "flat tanh": (lambda x: x - 1e-200 * torch.tanh(1e-150 * x), 1.0),
    "rational": (lambda x: torch.atan(x) / (1 + 1e-170 * x * x), 1.0),
}


@pytest.mark.parametrize("name", SCALES)
def test_weights_of_any_size_have_bounds_or_are_refused(name: str) -> None:
    function, truth = SCALES[name]
    network = build(captured(function, SHAPE), [0])
    try:
        bound = autolip_of(network, "2")
    except NotGloballyLipschitz:
        return
    assert bound >= truth * (1 - 1e-4)


def test_a_jump_is_not_fused() -> None:
    with pytest.raises(Discontinuous):
        network_of(lambda x: torch.where(x > 0, x, 0.1 * x - 1e-12), SHAPE)


@pytest.mark.parametrize("function", [lambda x: x * x, lambda x: x * F.relu(x), lambda x: x * torch.exp(x)])
def test_what_grows_too_fast_has_no_constant(function: object) -> None:
    with pytest.raises(LipschitzError):
        autolip_of(network_of(function, SHAPE), "2")


def test_a_refused_value_that_nothing_needs_does_no_harm() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x >= 0, F.relu(x), 0.2 * x) + 0.0 * F.relu(x)

    assert autolip_of(network_of(function, SHAPE), "2") == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("opset", [11, 13])
def test_hard_swish_of_an_old_opset(opset: int) -> None:
    constants = {"three": f32(3.0), "zero": np.float32(0.0), "six": np.float32(6.0), "sixth": f32(6.0)}
    nodes = [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["b"]),
        node("Mul", ["x", "b"], ["c"]),
        node("Div", ["c", "sixth"], ["y"]),
    ]
    graph = capture(onnx_bytes(nodes, {"x": [1, 4]}, ["y"], constants, opset))
    assert autolip_of(build(graph, [0]), "2") == pytest.approx(1.5, rel=1e-6)


def test_gelu_of_an_old_opset() -> None:
    constants = {"root": f32(math.sqrt(2)), "one": f32(1.0), "half": f32(0.5)}
    nodes = [
        node("Div", ["x", "root"], ["a"]),
        node("Erf", ["a"], ["b"]),
        node("Add", ["b", "one"], ["c"]),
        node("Mul", ["x", "c"], ["d"]),
        node("Mul", ["d", "half"], ["y"]),
    ]
    graph = capture(onnx_bytes(nodes, {"x": [1, 4]}, ["y"], constants, 13))
    assert autolip_of(build(graph, [0]), "2") == pytest.approx(1.1289041, rel=1e-6)


def test_leaky_relu_written_by_keras() -> None:
    constants = {"a": f32(0.25)}
    nodes = [
        node("Relu", ["x"], ["p"]),
        node("Neg", ["x"], ["m"]),
        node("Relu", ["m"], ["n"]),
        node("Mul", ["n", "a"], ["s"]),
        node("Sub", ["p", "s"], ["y"]),
    ]
    graph = capture(onnx_bytes(nodes, {"x": [1, 4]}, ["y"], constants, 13))
    assert autolip_of(build(graph, [0]), "2") == pytest.approx(1.0, rel=1e-6)
