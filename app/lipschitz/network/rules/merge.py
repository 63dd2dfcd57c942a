"""Sums, and maxima or minima of two dependent tensors."""

from __future__ import annotations

import torch

from ...operators.base import Shape
from .. import constants
from ..builder import Builder, scaled_by
from ..call import Call
from ..scalars.rectifiers import clip
from ..values import Constant, Linear
from .broadcast import broadcast
from .elementwise import on_flat, place
from .table import rule


@rule("add.Tensor", "add.Scalar")
def add(builder: Builder, call: Call) -> Linear:
    """a + alpha b."""
    return _sum(builder, call, 1.0, _alpha(call))


@rule("sub.Tensor", "sub.Scalar")
def subtract(builder: Builder, call: Call) -> Linear:
    """a - alpha b."""
    return _sum(builder, call, 1.0, -_alpha(call))


@rule("rsub.Tensor", "rsub.Scalar")
def reverse_subtract(builder: Builder, call: Call) -> Linear:
    """b - alpha a."""
    return _sum(builder, call, -_alpha(call), 1.0)


@rule("maximum.default", "minimum.default")
def extremum(builder: Builder, call: Call) -> Linear:
    """The larger or smaller entry, of the pair in order."""
    left, right = call.arguments["input"], call.arguments["other"]
    shape = tuple(torch.broadcast_shapes(left.shape, right.shape))
    if isinstance(left, Constant) or isinstance(right, Constant):
        return _clipped(builder, call, shape)
    larger, smaller = builder.ordered(broadcast(left, shape), broadcast(right, shape), call.origin)
    return smaller if call.name == "aten.minimum.default" else larger


def _clipped(builder: Builder, call: Call, shape: Shape) -> Linear:
    (dependent,) = call.linears()
    value = broadcast(dependent, shape)
    (bound,) = call.constants()
    at = place(bound, value)
    low, high = (None, at) if call.name == "aten.minimum.default" else (at, None)
    return builder.activation(value, clip(low, high, on_flat(call, value)), call.origin)


def _sum(builder: Builder, call: Call, first: float, second: float) -> Linear:
    operands = ((call.arguments["input"], first), (call.arguments["other"], second))
    shape = tuple(torch.broadcast_shapes(*(getattr(operand, "shape", ()) for operand, _ in operands)))
    dependent = [(broadcast(x, shape), sign) for x, sign in operands if isinstance(x, Linear)]
    if len(dependent) > 1:
        return builder.add([x for x, _ in dependent], [sign for _, sign in dependent], call.origin)
    ((value, sign),) = dependent
    ((constant, other),) = [(x, sign) for x, sign in operands if not isinstance(x, Linear)]
    known = constant if isinstance(constant, Constant) else constants.exact(float(constant))
    added = constants.add(constants.exact(0.0), known, other)
    offset = call.run(lambda _: value.offset())
    return scaled_by(value, sign).shifted(offset, added, known.parameters)


def _alpha(call: Call) -> float:
    return float(call.arguments["alpha"])
