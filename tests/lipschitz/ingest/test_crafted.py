"""Valid models that are strange: each is answered, or refused by name; none ends in an unexpected error."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional

from app.lipschitz.errors import (
    DataDependentControlFlow,
    Discontinuous,
    InvalidModel,
    LipschitzError,
    UnsupportedOperator,
)
from app.lipschitz.files import analyze
from tests.lipschitz.ingest.onnx_models import node, onnx_bytes

FAST = {"methods": ["autolip", "gradient"], "options": {"gradient": {"seconds": 0.2}}}


class Casts(nn.Module):
    def __init__(self, *dtypes: torch.dtype) -> None:
        super().__init__()
        self.narrow, self.wide = dtypes

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x.to(self.narrow).to(self.wide)


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.randn(1, 3)), buffer)
    return buffer.getvalue()


def exported(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(module, (torch.randn(1, 3),)), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("save", [scripted, exported])
def test_a_narrowing_cast_is_a_step_function(save: object, narrow: torch.dtype) -> None:
    assert callable(save)
    with pytest.raises(Discontinuous, match="rounds values of the input"):
        analyze(save(Casts(narrow, torch.float32)), FAST | {"inputs": [[1, 3]]})


@pytest.mark.parametrize("save", [scripted, exported])
def test_a_widening_cast_is_the_identity(save: object) -> None:
    assert callable(save)
    result = analyze(save(Casts(torch.float64, torch.float64)), FAST | {"inputs": [[1, 3]]})["result"]
    assert result["upper"]["value"] == pytest.approx(2.0, rel=1e-9)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_onnx_casts(kind: int) -> None:
    nodes = [node("Cast", ["x"], ["h"], to=kind), node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(Discontinuous, match="rounds values of the input"):
        analyze(onnx_bytes(nodes, {"x": [1, 3]}, ["y"]), FAST)
    wide = [node("Cast", ["x"], ["h"], to=TensorProto.DOUBLE), node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    result = analyze(onnx_bytes(wide, {"x": [1, 3]}, ["y"]), FAST)["result"]
    assert result["upper"]["value"] == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.BOOL])
def test_casts_to_integers_are_refused(kind: int) -> None:
    nodes = [node("Cast", ["x"], ["h"], to=kind), node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(LipschitzError):
        analyze(onnx_bytes(nodes, {"x": [1, 3]}, ["y"]), FAST)


@pytest.mark.parametrize("shape", [[0, 3], [2, 0], [0]])
def test_inputs_without_entries_are_refused(shape: list[int]) -> None:
    with pytest.raises(LipschitzError):
        analyze(onnx_bytes([node("Relu", ["x"], ["y"])], {"x": shape}, ["y"]), FAST)


def test_outputs_without_entries_are_refused() -> None:
    ends = {"s": np.array([0]), "e": np.array([0]), "a": np.array([1])}
    model = onnx_bytes([node("Slice", ["x", "s", "e", "a"], ["y"])], {"x": [1, 3]}, ["y"], ends)
    with pytest.raises(LipschitzError):
        analyze(model, FAST)


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


def test_operators_without_a_rule_are_named() -> None:
    with pytest.raises(LipschitzError):
        analyze(scripted(Fourier()), FAST | {"inputs": [[1, 3]]})


CONSTANTS = [0.1, 0.5, 0.9]


class Scaled(nn.Module):
    """x times a function of stored numbers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.c, self.function = nn.Parameter(torch.tensor(CONSTANTS)), function

    def forward(self, x: Tensor) -> Tensor:
        return x * self.function(self.c)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[list[Any]], Any]]] = {
    "log1p": (torch.log1p, lambda c: mpmath.log(1 + c[2])),
    "expm1": (torch.expm1, lambda c: mpmath.exp(c[2]) - 1),
    "erf": (torch.erf, lambda c: mpmath.erf(c[2])),
    "tanh": (torch.tanh, lambda c: mpmath.tanh(c[2])),
    "gelu": (functional.gelu, lambda c: c[2] * (1 + mpmath.erf(c[2] / mpmath.sqrt(2))) / 2),
    "softplus": (functional.softplus, lambda c: mpmath.log(1 + mpmath.exp(c[2]))),
    "atan": (torch.atan, lambda c: mpmath.atan(c[2])),
    "log": (torch.log, lambda c: -mpmath.log(c[0])),
    "power": (lambda c: c**1.7, lambda c: c[2] ** mpmath.mpf(1.7)),
    "relu": (torch.relu, lambda c: c[2]),
    "clamp": (lambda c: c.clamp(0.2), lambda c: c[2]),
    "composed": (lambda c: torch.tanh(torch.exp(c)), lambda c: mpmath.tanh(mpmath.exp(c[2]))),
    "softmax": (lambda c: torch.softmax(c, 0), lambda c: mpmath.exp(c[2]) / sum(mpmath.exp(one) for one in c)),
    "log_softmax": (lambda c: torch.log_softmax(c, 0), lambda c: mpmath.log(sum(mpmath.exp(one - c[0]) for one in c))),
    "logsumexp": (lambda c: torch.logsumexp(c, 0), lambda c: mpmath.log(sum(mpmath.exp(one) for one in c))),
    "mean": (torch.mean, lambda c: sum(c) / 3),
    "amax": (lambda c: torch.exp(c).amax(), lambda c: mpmath.exp(c[2])),
    "norm": (torch.norm, lambda c: mpmath.sqrt(sum(one * one for one in c))),
    "cumsum": (lambda c: c.cumsum(0), lambda c: sum(c)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_constant_through_a_function_is_enclosed(name: str) -> None:
    function, truth = FUNCTIONS[name]
    with mpmath.workdps(40):
        exact = truth([mpmath.mpf(float(one)) for one in torch.tensor(CONSTANTS)])
        result = analyze(scripted(Scaled(function)), {"methods": ["autolip"], "inputs": [[1, 3]]})["result"]
        assert exact <= result["upper"]["value"] <= exact * (1 + mpmath.mpf(10) ** -9)


@pytest.mark.parametrize(
    ("op", "truth"), [("Softplus", lambda c: mpmath.log(1 + mpmath.exp(c))), ("Erf", mpmath.erf), ("Log", mpmath.log)]
)
def test_onnx_constants_through_a_function_are_enclosed(op: str, truth: Callable[[Any], Any]) -> None:
    nodes = [node(op, ["c"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    model = onnx_bytes(nodes, {"x": [1, 3]}, ["y"], {"c": np.array([1.0, 2.0, 3.0], dtype=np.float32)})
    with mpmath.workdps(40):
        upper, exact = analyze(model, FAST)["result"]["upper"]["value"], truth(mpmath.mpf(3))
        assert exact <= upper <= exact * (1 + mpmath.mpf(10) ** -9)


def test_no_upper_bound_has_its_reason() -> None:
    """Where a constant's rounding is unknown, the estimate and the warnings say so, by name."""
    nodes = [
        node("Mod", ["c", "c"], ["r"], fmod=1),
        node("Add", ["r", "c"], ["s"]),
        node("Mul", ["x", "s"], ["y"], name="times"),
    ]
    model = onnx_bytes(nodes, {"x": [1, 3]}, ["y"], {"c": np.array([1.0, 2.0, 3.0], dtype=np.float32)})
    result = analyze(model, FAST)["result"]
    assert result["upper"] is None
    assert "at times a stored constant comes from an operator" in result["estimates"][0]["reason"]
    assert any("no upper bound: autolip: at times" in warning for warning in result["warnings"])


class Cond(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: 2 * x, lambda x: 3 * x, (x,))


class If(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if bool(x.sum() > 0) else 3 * x


def test_branches_on_data_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedOperator, match=r"higher_order\.cond is not supported"):
        analyze(exported(Cond()), FAST)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(If()), buffer)
    with pytest.raises(DataDependentControlFlow, match="depends on the input's values"):
        analyze(buffer.getvalue(), FAST | {"inputs": [[1, 3]]})


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_onnx_casts_to_eight_bits_are_refused_by_name(kind: int) -> None:
    nodes = [node("Cast", ["x"], ["h"], to=kind), node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(UnsupportedOperator, match="Cast"):
        analyze(onnx_bytes(nodes, {"x": [1, 3]}, ["y"]), FAST)


def test_exported_casts_to_eight_bits_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedOperator, match="element type that is not supported"):
        analyze(exported(Casts(torch.float8_e4m3fn, torch.float32)), FAST)


@pytest.mark.parametrize(("dtype", "refusal"), [("float16", Discontinuous), ("int64", UnsupportedOperator)])
def test_cast_like(dtype: str, refusal: type[LipschitzError]) -> None:
    nodes = [node("CastLike", ["x", "c"], ["h"]), node("CastLike", ["h", "d"], ["y"])]
    model = onnx_bytes(nodes, {"x": [1, 3]}, ["y"], {"c": np.ones(1, dtype), "d": np.ones(1, np.float32)})
    with pytest.raises(refusal):
        analyze(model, FAST)


def test_a_cast_from_double_rounds() -> None:
    nodes = [node("Cast", ["x"], ["h"], to=TensorProto.FLOAT)]
    with pytest.raises(Discontinuous, match=r"torch\.float32 rounds values"):
        analyze(onnx_bytes(nodes, {"x": [1, 3]}, ["h"], input_type=TensorProto.DOUBLE), FAST)


class Empty(nn.Module):
    """Nothing of the input comes through: an inner tensor has no entries."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T @ self.weight


class Adapted(Empty):
    def forward(self, x: Tensor) -> Tensor:
        return x + x @ self.weight.T @ self.weight


@pytest.mark.parametrize("save", [scripted, exported])
def test_inner_tensors_without_entries(save: Callable[[nn.Module], bytes]) -> None:
    with pytest.raises(InvalidModel, match="the function is constant"):
        analyze(save(Empty()), FAST | {"inputs": [[1, 3]]})


@pytest.mark.parametrize("save", [scripted, exported])
def test_parts_without_entries_change_nothing(save: Callable[[nn.Module], bytes]) -> None:
    """As adapters of rank 0 are exported."""
    result = analyze(save(Adapted()), FAST | {"inputs": [[1, 3]]})["result"]
    assert result["upper"]["value"] == pytest.approx(1.0, rel=1e-9)
