"""Operators that models of robots, speech and vision end in: their constants on the whole space, asked from outside."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.lipschitz import files

FIXED = torch.arange(12.0).reshape(1, 3, 4)
MATRIX = 0.5 * torch.eye(4)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


CASES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...], float]] = {
    "norm with dims": (lambda x: torch.linalg.vector_norm(x, dim=(1, 2)), (1, 3, 4), 1.0),
    "norm of order 1": (lambda x: torch.norm(x, p=1, dim=-1), (1, 3, 4), 2.0),
    "cummax": (lambda x: torch.cummax(x, -1)[0], (1, 6), math.sqrt(6)),
    "logcumsumexp": (lambda x: torch.logcumsumexp(x, -1), (1, 6), math.sqrt(6)),
    "std": (lambda x: x.std(-1), (1, 6), math.sqrt(1 / 5)),
    "cdist": (lambda x: torch.cdist(x, FIXED), (1, 3, 4), math.sqrt(3)),
    "nan_to_num": (lambda x: 2.0 * torch.nan_to_num(x), (1, 6), 2.0),
    "lp_pool1d, windows that overlap": (lambda x: F.lp_pool1d(x, 2.0, 3, 2), (1, 2, 9), math.sqrt(2)),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2.0, 2), (1, 2, 6, 6), 1.0),
    "lp_pool2d, windows that overlap": (lambda x: F.lp_pool2d(x, 2.0, 3, 1), (1, 1, 5, 5), 3.0),
    "einsum, a diagonal": (lambda x: torch.einsum("bii->bi", x), (1, 4, 4), 1.0),
    "einsum, a trace": (lambda x: torch.einsum("bii->b", x), (1, 4, 4), 2.0),
    "einsum, dots": (lambda x: torch.einsum("...ij,jk->...ik", x, MATRIX), (1, 3, 4), 0.5),
}


@pytest.mark.parametrize("name", CASES)
def test_constants_on_the_whole_space(name: str) -> None:
    function, shape, constant = CASES[name]
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Function(function), (torch.rand(shape),)), buffer)
    fields = {"methods": ["autolip", "gradient"], "budget_s": 10, "options": {"gradient": {"seconds": 0.3}}}
    found = files.analyze(buffer.getvalue(), fields)["result"]
    assert constant <= found["upper"]["value"] <= constant * (1.0 + 1e-9)
    assert found["lower"]["value"] <= found["upper"]["value"]
