"""One attention block, one answer, whichever way it was exported."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable, Mapping

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz import files
from app.lipschitz.deadline import NEVER
from app.lipschitz.digits.evaluate import values_at
from app.lipschitz.digits.number import ends
from app.lipschitz.domain import Box
from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.network.build import build
from app.lipschitz.network.propagation import propagate
from tests.lipschitz.attention_blocks import BLOCKS, TOKENS, WIDTH, band, made
from tests.lipschitz.helpers import captured
from tests.lipschitz.ingest.exporters import EXPORTERS

SHAPE = (1, TOKENS, WIDTH)


def opset_23(network: nn.Module, example: Tensor) -> bytes:
    """With ONNX's own operators for attention."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network, (example,), dynamo=True, opset_version=23, verbose=False)
    assert program is not None
    return program.model_proto.SerializeToString()


def without_gradients(network: nn.Module, example: Tensor) -> bytes:
    """A trace of the fast path."""
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, example), buffer)
    return buffer.getvalue()


WAYS: Mapping[str, Callable[[nn.Module, Tensor], bytes]] = {
    "torch.export (core)": EXPORTERS["torch.export (core)"],
    "trace without gradients": without_gradients,
    "onnx (opset 23)": opset_23,
}
QUICK = {
    "causal": tuple(WAYS),
    "a mask of booleans": ("torch.export (core)", "onnx (opset 23)"),
    "MultiheadAttention without weights": ("torch.export (core)", "trace without gradients"),
}


def upper(name: str, way: str) -> float:
    data = WAYS[way](made(name), torch.randn(SHAPE))
    box = {"kind": "box", "lower": -1.0, "upper": 1.0}
    found = files.analyze(data, {"domain": box, "methods": ["autolip"], "inputs": [list(SHAPE)]})["result"]
    return float(found["upper"]["value"])


def check(name: str, ways: Iterable[str] = WAYS) -> None:
    bounds = [upper(name, way) for way in ways]
    assert all(math.isfinite(bound) for bound in bounds)
    assert max(bounds) <= min(bounds) * (1.0 + 1e-6)


@pytest.mark.parametrize("name", QUICK)
def test_one_answer(name: str) -> None:
    check(name, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BLOCKS if len(QUICK.get(name, ())) < len(WAYS)])
def test_one_answer_for_every_block(name: str) -> None:
    check(name)


class Masked(nn.Module):
    """A softmax with masked entries; the last row is masked all over where `empty`."""

    def __init__(self, *, empty: bool) -> None:
        super().__init__()
        mask = band()
        mask[-1] = mask[-1] & (not empty)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten._safe_softmax(x.masked_fill(~self.mask, -math.inf), -1)


@pytest.mark.parametrize("empty", [False, True])
def test_masked_entries_take_no_part(empty: bool) -> None:
    """Values stay in their intervals, and long arithmetic knows them; rows of masks alone are 0."""
    graph = captured(Masked(empty=empty), (TOKENS, TOKENS))
    network = build(graph, [0])
    x = torch.randn(TOKENS * TOKENS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    true = graph.graph(x.reshape(TOKENS, TOKENS))[0].reshape(-1)
    assert torch.allclose(network(x[None])[0], true, rtol=1e-14, atol=0)
    low, high = (end.reshape(-1) for end in ends(values_at(graph, [0], [x], 6, NEVER)[0]))
    assert bool(((low <= true + 1e-15) & (true - 1e-15 <= high)).all())
    assert float((high - low).max()) < 1e-13
    around = propagate(network, Box(x - 0.1, x + 0.1))[network.output]
    assert bool(((around.lower <= true) & (true <= around.upper)).all())
    assert not around.upper.reshape(TOKENS, TOKENS)[~graph.graph(x.reshape(TOKENS, TOKENS))[0].bool()].any()


def test_a_constant_is_known_before_ranges_are_asked_for() -> None:
    """A scale out of the shape: Shape, Cast, Sqrt, Div, as exporters write it."""

    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            size = torch.tensor(x.shape[-1]).to(torch.float32)
            return x @ x.mT * (1.0 / size.sqrt()).sqrt()

    data = EXPORTERS["jit.trace"](Scaled(), torch.randn(1, 3, 4))
    box = {"kind": "box", "lower": -1.0, "upper": 1.0}
    found = files.analyze(data, {"domain": box, "methods": ["autolip"], "inputs": [[1, 3, 4]]})["result"]
    assert math.isfinite(found["upper"]["value"])


def test_nan_is_asked_for_behind_a_softmax_only() -> None:
    class Asking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(torch.isnan(x), 0.0, x)

    with pytest.raises(UnsupportedOperator, match="isnan"):
        build(captured(Asking(), (1, 3)), [0])
