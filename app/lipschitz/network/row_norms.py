"""Norms of a linear map's rows, dual to that of the inputs."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import singledispatch

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from ..operators.convolution import Convolution
from ..operators.dense import Dense
from ..operators.dense_norm import normalised
from ..operators.norm import Norm
from ..operators.scaling import raised

UNDERFLOWN = 2.0**-500
"""More than underflow takes from the root of a sum of squares of entries of at most 1."""


@singledispatch
def row_norms(operator: LinearOperator, p: Norm) -> Tensor:  # noqa: ARG001 - the sum bounds all of them
    """Upper bounds, to rounding, of every row's norm dual to p: how far A x moves over the unit ball."""
    ones = torch.ones(1, operator.in_size, dtype=torch.float64, device=operator.device)
    return operator.majorant().mv(ones)[0]


@row_norms.register
def _(operator: Dense, p: Norm) -> Tensor:
    dual = {"1": math.inf, "2": 2.0, "inf": 1.0}[p]
    matrix, exponent = normalised(operator.matrix)
    rows: Tensor = raised(torch.linalg.vector_norm(matrix, dual, dim=-1) + UNDERFLOWN, exponent)
    if rows.ndim == 2:
        rows = rows.reshape(rows.shape[0], *[1] * (len(operator.out_shape) - 2), rows.shape[1])
    return rows.expand(operator.out_shape).reshape(-1)


@row_norms.register
def _(operator: Convolution, p: Norm) -> Tensor:
    if p != "2":
        return row_norms.dispatch(LinearOperator)(operator, p)
    kernel, exponent = normalised(operator.kernel)
    squares = row_norms.dispatch(LinearOperator)(replace(operator, kernel=kernel.square(), error=0.0), "1")
    return raised(squares.sqrt() + UNDERFLOWN, exponent)
