"""Layer norm, RMS norm, unit vectors and softmax written as several operations of the captured graph.

    layer norm   d = x - mean x, y = d / sqrt(mean d^2 + eps)
    RMS norm     y = x / sqrt(mean x^2 + eps)
    unit vector  y = x / max(|x|, floor)
    softmax      e = exp x or exp(x - max x), y = e / sum e

A gain and a bias that follow are affine and need no place here. Everything is matched on the graph, exactly in
these forms; what differs is left to the ordinary rules.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from .builder import Builder
from .call import Call, origin_of
from .patterns import Values, alike, literal, operator_of, power_of, squared
from .rules.normalization import Normalizer
from .rules.scaling import RootMeanSquare, Scaling, UnitVector
from .rules.softmax import softmax_over
from .values import Linear


@dataclass(frozen=True, eq=False)
class Spread:
    """sqrt(mean d^2 + eps) over some axes that are kept."""

    of: fx.Node
    axes: tuple[int, ...]
    eps: float


def normalized(builder: Builder, node: fx.Node, values: Values) -> Linear | None:
    """The value of a node that ends one of the forms above."""
    pair = _quotient(node)
    if pair is None:
        return None
    above, spread = pair[0], _spread(pair[1], values, -0.5 if operator_of(node) == "mul" else 0.5)
    if spread is None:
        return _unit(builder, node, *pair, values) or _softmax(builder, node, *pair, values)
    if not alike(spread.of, above):
        return None
    centred = _centred(above, spread.axes, values)
    value = values.get(above if centred is None else centred)
    if not isinstance(value, Linear):
        return None
    index = _groups(value, spread.axes)
    if centred is None:
        return _appended(builder, node, value, RootMeanSquare(index, spread.eps))
    plain = torch.ones(value.operator.out_size, dtype=torch.float64)
    return _appended(builder, node, value, Normalizer(index, spread.eps, plain, torch.zeros_like(plain)))


def _appended(builder: Builder, node: fx.Node, value: Linear, layer: Normalizer | Scaling) -> Linear:
    constants = layer.constants()
    return builder.nonlinear(
        value,
        value.shape,
        layer,
        constants,
        "normalization",
        origin=origin_of(node),
        enclosure=layer.range,
        local=layer.local,
        partials=layer.partials,
    )


def _unit(builder: Builder, node: fx.Node, above: fx.Node, below: fx.Node, values: Values) -> Linear | None:
    """x / max(|x|, floor) by the 2-norm over axes that are kept, the floor 0 where there is none."""
    while operator_of(below) in ("expand", "clone"):
        below = below.all_input_nodes[0]
    floor: float | None = 0.0
    if operator_of(below) in ("clamp_min", "clamp", "maximum") and len(below.args) == 2 and not below.kwargs:
        below, floor = below.all_input_nodes[0], literal(below.args[1], values)
    while operator_of(below) == "clone":
        below = below.all_input_nodes[0]
    value = values.get(above)
    if floor is None or floor < 0.0 or operator_of(node) != "div" or not isinstance(value, Linear):
        return None
    axes = _of_norm(below, above, len(value.shape))
    return None if axes is None else _appended(builder, node, value, UnitVector(_groups(value, axes), floor))


def _of_norm(node: fx.Node, of: fx.Node, rank: int) -> tuple[int, ...] | None:
    """The axes of a 2-norm of `of` that keeps them."""
    if operator_of(node) != "linalg_vector_norm" or node.kwargs or node.args[0] is not of or len(node.args) != 4:
        return None
    _, order, dims, keeps = node.args
    if float(str(order)) != 2.0 or keeps is not True or not isinstance(dims, list | tuple) or not dims:
        return None
    return tuple(sorted(int(str(dim)) % rank for dim in dims))


def _softmax(builder: Builder, node: fx.Node, above: fx.Node, below: fx.Node, values: Values) -> Linear | None:
    axes = _reduced(below, "sum", values)
    if operator_of(above) != "exp" or axes is None or len(axes) != 1 or below.args[0] is not above:
        return None
    (inner,) = above.all_input_nodes
    value = values.get(_unshifted(inner, axes[0], values))
    return softmax_over(builder, _call(node), value, axes[0]) if isinstance(value, Linear) else None


def _unshifted(node: fx.Node, axis: int, values: Values) -> fx.Node:
    """x when the node is x - max x over the axis: softmax does not see the difference."""
    if operator_of(node) == "sub" and len(node.args) == 2 and not node.kwargs:
        x, largest = node.args
        if isinstance(largest, fx.Node) and largest.target is operator.getitem:
            largest = largest.args[0]
        if isinstance(x, fx.Node) and isinstance(largest, fx.Node) and operator_of(largest) in ("amax", "max"):
            keeps = len(largest.args) > 2 and largest.args[2] is True
            dims = largest.args[1] if keeps else None
            same = dims in (axis, [axis], axis - _rank(x, values), [axis - _rank(x, values)])
            return x if same and largest.args[0] is x else node
    return node


def _rank(node: fx.Node, values: Values) -> int:
    value = values.get(node)
    return len(value.shape) if isinstance(value, Linear) else 0


def _call(node: fx.Node) -> Call:
    assert isinstance(node.target, OpOverload)
    return Call(node.target, {}, origin_of(node))


def _quotient(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """a and b of a / b; b may hide in a product with 1 / b, whose node then stands for it."""
    if operator_of(node) not in ("div", "mul") or len(node.args) != 2:
        return None
    left, right = node.args
    if not isinstance(left, fx.Node) or not isinstance(right, fx.Node):
        return None
    if operator_of(node) == "div":
        return left, right
    for a, b in ((left, right), (right, left)):
        if operator_of(b) in ("rsqrt", "reciprocal") or power_of(b) == -0.5:
            return a, b
    return None


def _root(node: fx.Node) -> tuple[Any, float | None]:
    """(v, a) when the node is v^a, a reciprocal of a root included."""
    if operator_of(node) == "reciprocal":
        inner, exponent = _root(node.all_input_nodes[0])
        return inner, None if exponent is None else -exponent
    return (node.args[0] if node.args else None), {"sqrt": 0.5, "rsqrt": -0.5}.get(operator_of(node), power_of(node))


def _spread(node: fx.Node, values: Values, wanted: float) -> Spread | None:
    """The node as (mean d^2 + eps)^wanted, eps >= 0: a quotient needs the root, a product its reciprocal."""
    inner, exponent = _root(node)
    if exponent != wanted:
        return None
    if not isinstance(inner, fx.Node) or operator_of(inner) != "add" or len(inner.args) != 2 or inner.kwargs:
        return None
    for moment, eps in (inner.args, inner.args[::-1]):
        number = literal(eps, values)
        if isinstance(moment, fx.Node) and number is not None and number >= 0.0:
            axes, squares = _reduced(moment, "mean", values), moment.args[0] if moment.args else None
            base = squared(squares) if isinstance(squares, fx.Node) else None
            return Spread(base, axes, number) if axes is not None and base is not None else None
    return None


def _centred(node: fx.Node, axes: tuple[int, ...], values: Values) -> fx.Node | None:
    """x when the node is x - mean x over the same axes."""
    if operator_of(node) != "sub" or len(node.args) != 2 or node.kwargs:
        return None
    x, mean = node.args
    if not isinstance(x, fx.Node) or not isinstance(mean, fx.Node) or _reduced(mean, "mean", values) != axes:
        return None
    return x if mean.args[0] is x else None


def _reduced(node: fx.Node, kind: str, values: Values) -> tuple[int, ...] | None:
    """The axes of a sum or mean that keeps them."""
    if operator_of(node) != kind or len(node.args) < 3 or node.args[2] is not True:
        return None
    source = values.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
    dims = node.args[1]
    if not isinstance(source, Linear) or not isinstance(dims, list | tuple) or not dims:
        return None
    return tuple(sorted(int(str(dim)) % len(source.shape) for dim in dims))


def _groups(value: Linear, axes: tuple[int, ...]) -> Tensor:
    """Flat positions, one row a group that is averaged."""
    index = value.positions()
    kept = [axis for axis in range(len(value.shape)) if axis not in axes]
    return index.permute(*kept, *axes).reshape(-1, math.prod(value.shape[axis] for axis in axes))
