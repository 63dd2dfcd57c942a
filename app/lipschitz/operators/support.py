"""Which outputs of an operator read any of some inputs: the pattern of its entries, without their sizes.

A stored zero is a zero of the exact operator (`folding` keeps it so), and products of patterns neither underflow nor
cancel. So an output that is not reached by an input does not depend on it, for certain.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import torch
from torch import Tensor

from .adjoint import adjoint
from .base import LinearOperator
from .composite import Adjoint, Composed, Stack, Sum
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .folding import pattern
from .gather import Gather
from .reshape import Reshape


def reached(operator: LinearOperator, inputs: Tensor) -> Tensor:
    """Outputs, `(m,)` booleans, that may depend on an input marked in `(n,)`."""
    if not bool(inputs.any()):
        return torch.zeros(operator.out_size, dtype=torch.bool, device=inputs.device)
    return _reached(operator, inputs)


@singledispatch
def _reached(operator: LinearOperator, inputs: Tensor) -> Tensor:
    raise NotImplementedError(f"no pattern of {type(operator).__name__}")


def _of_ones(operator: LinearOperator, inputs: Tensor) -> Tensor:
    """From the product of an operator of zeros and ones with zeros and ones."""
    counts = operator.mv(inputs.to(torch.float64)[None])[0]
    return counts > 0.5  # a fast convolution may leave rounding where the count is 0


@_reached.register
def _(operator: Reshape, inputs: Tensor) -> Tensor:  # noqa: ARG001 - the identity on flat vectors
    return inputs


@_reached.register
def _(operator: Gather, inputs: Tensor) -> Tensor:
    return _of_ones(operator, inputs)


@_reached.register
def _(operator: Dense, inputs: Tensor) -> Tensor:
    return _of_ones(replace(operator, matrix=pattern(operator.matrix)), inputs)


@_reached.register
def _(operator: Diagonal, inputs: Tensor) -> Tensor:
    return _of_ones(replace(operator, weight=pattern(operator.weight)), inputs)


@_reached.register
def _(operator: Convolution, inputs: Tensor) -> Tensor:
    return _of_ones(replace(operator, kernel=pattern(operator.kernel)), inputs)


@_reached.register
def _(operator: Adjoint, inputs: Tensor) -> Tensor:
    inner = operator.operator
    if isinstance(inner, Gather):
        return _of_ones(operator, inputs)
    if isinstance(inner, Convolution):
        return _of_ones(Adjoint(replace(inner, kernel=pattern(inner.kernel))), inputs)
    turned = adjoint(inner)
    if isinstance(turned, Adjoint):
        return torch.ones(operator.out_size, dtype=torch.bool, device=inputs.device)
    return _reached(turned, inputs)


@_reached.register
def _(operator: Composed, inputs: Tensor) -> Tensor:
    for part in reversed(operator.parts):
        inputs = reached(part, inputs)
    return inputs


@_reached.register
def _(operator: Sum, inputs: Tensor) -> Tensor:
    return torch.stack([_reached(part, inputs) for part in operator.parts]).any(0)


@_reached.register
def _(operator: Stack, inputs: Tensor) -> Tensor:
    return torch.cat([_reached(part, inputs) for part in operator.parts])
