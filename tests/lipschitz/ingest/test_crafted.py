"""Valid models that are strange: each is answered, or refused by name; none ends in an unexpected error."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from app.lipschitz.errors import Discontinuous, LipschitzError
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


def test_a_constant_through_a_function_has_an_upper_bound_or_a_reason() -> None:
    nodes = [node("Softplus", ["c"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    model = onnx_bytes(nodes, {"x": [1, 3]}, ["y"], {"c": np.array([1.0, 2.0, 3.0], dtype=np.float32)})
    with suppress(LipschitzError):
        result = analyze(model, FAST)["result"]
        assert result["upper"] is not None or any(record["reason"] for record in result["estimates"])
