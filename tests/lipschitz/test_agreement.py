"""The gate between captured graph and network: rounding passes, another function does not, and refusals say which."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz import agreement
from app.lipschitz.agreement import check_agreement
from app.lipschitz.deadline import NEVER, SPENT, Deadline
from app.lipschitz.errors import ConversionMismatch
from app.lipschitz.files import analyze
from app.lipschitz.ingest import capture
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Affine


class Cancelling(nn.Module):
    """W (relu(x + b) - b): the biases cancel."""

    def __init__(self, bias: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.full((4,), bias, dtype=dtype))
        self.w = nn.Parameter(torch.arange(12, dtype=dtype).reshape(4, 3) - 5)

    def forward(self, x: Tensor) -> Tensor:
        return (torch.relu(x + self.b) - self.b) @ self.w


def cancelling(bias: float, dtype: torch.dtype = torch.float64) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Cancelling(bias, dtype), (torch.zeros(1, 4, dtype=dtype),)), buffer)
    return buffer.getvalue()


BOX = {"methods": ["autolip"], "domain": {"kind": "box", "lower": -1, "upper": 1}}


def test_cancelling_biases_are_compared_by_their_rounding() -> None:
    """A tolerance relative to the outputs alone refuses it, though nothing is wrong."""
    norm = float(torch.linalg.matrix_norm(torch.arange(12, dtype=torch.float64).reshape(4, 3) - 5, 2))
    result = analyze(cancelling(2.0**36 / 3), BOX)["result"]
    assert norm <= result["upper"]["value"] <= norm * (1 + 1e-6)


def test_too_much_rounding_is_said() -> None:
    with pytest.raises(ConversionMismatch, match=r"through its own precision's rounding"):
        analyze(cancelling(2.0**22 / 3, torch.float32), BOX)


def test_another_function_is_refused() -> None:
    captured = capture(cancelling(2.0**20))
    network = build(captured, [0])
    check_agreement(network, captured, [0], seed=0)
    last = network.nodes[-1]
    assert isinstance(last, Affine)
    wrong = replace(last, bias=torch.full((last.size,), 1e-3, dtype=torch.float64))
    with pytest.raises(ConversionMismatch, match="a rule is wrong"):
        check_agreement(replace(network, nodes=(*network.nodes[:-1], wrong)), captured, [0], seed=0)


@pytest.mark.parametrize(("deadline", "points"), [(NEVER, len(agreement.SCALES)), (SPENT, 1)])
def test_one_point_is_compared_whatever_the_time(
    deadline: Deadline, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dear graph's comparison at three points took seconds of a small budget."""
    graph, compared = capture(cancelling(0.0)), []
    compare = agreement._compare
    monkeypatch.setattr(agreement, "_compare", lambda *given: compared.append(1) or compare(*given))
    check_agreement(build(graph, [0]), graph, [0], seed=0, deadline=deadline)
    assert len(compared) == points
