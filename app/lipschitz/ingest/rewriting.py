"""Forms that torch's recurrent layers and pooling by norms leave in a trace, in place: the same function, as their
papers write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node

aten = torch.ops.aten


def read_through(node: Node) -> None:
    """Read a slice of what slices were written into where its entries come from, as gates of recurrent layers are."""
    while (part := _range(node)) is not None and (written := _written(node.args[0])) is not None:
        scatter: Any = node.args[0]
        dim, start, end = part
        if written == part:
            node.replace_all_uses_with(scatter.args[1])
            return
        if written[0] != dim or (start < written[2] and written[1] < end):
            return
        node.replace_input_with(scatter, scatter.args[0])


def _written(source: Any) -> tuple[int, int, int] | None:
    return _range(source, first=2) if _is(source, aten.slice_scatter.default) else None


def _range(node: Node, first: int = 1) -> tuple[int, int, int] | None:
    """The axis, the start and the end of a slice without steps, counted from the front; None for others."""
    given: list[Any] = list(node.args[first:])
    dim, start, end, step = given + [0, None, None, 1][len(given) :]
    shape: Any = _shape(node.args[0])
    if shape is None or step != 1 or node.kwargs or not isinstance(dim, int):
        return None
    if not isinstance(start, int | None) or not isinstance(end, int | None):
        return None
    low, high, _ = slice(start, end).indices(shape[dim])
    return dim % len(shape), low, high


def as_mean(node: Node) -> None:
    """(h - n) z + n with a gate z = sigmoid(.) as the weighted mean (1 - z) n + z h, whose weights are known to be."""
    for difference, gate, other in _gated(node):
        h, n = difference.args[:2]
        if n is not other or len({_shape(one) for one in (h, n, gate, node)}) > 1:
            continue
        with node.graph.inserting_before(node):
            rest = node.graph.call_function(aten.rsub.Scalar, (gate, 1))
            terms = [node.graph.call_function(aten.mul.Tensor, pair) for pair in ((rest, n), (gate, h))]
        for new in (rest, *terms):
            new.meta = dict(node.meta)
        node.args = tuple(terms)
        return


def without_sign(node: Node) -> None:
    """sign(a) |a| is a, which is how torch writes pooling by norms."""
    factors: Any = node.args
    for sign, size in (factors, factors[::-1]):
        inner = size.args[0] if _is(size, aten.relu.default) else size
        if _is(sign, aten.sign.default) and _is(inner, aten.abs.default) and sign.args == inner.args:
            node.replace_all_uses_with(sign.args[0])
            return


def _gated(node: Node) -> Iterator[tuple[Any, Any, Any]]:
    """(difference, gate, other summand) for each way to read a sum as difference * gate + other."""
    summands: Any = node.args
    if len(summands) != 2 or node.kwargs:
        return
    for product, other in (summands, summands[::-1]):
        factors = product.args if _is(product, aten.mul.Tensor) else ()
        for a, b in (factors, factors[::-1]) if factors else ():
            if _is(a, aten.sub.Tensor) and _is(b, aten.sigmoid.default) and not a.kwargs and len(a.args) == 2:
                yield a, b, other


def _is(operand: object, target: object) -> bool:
    return isinstance(operand, Node) and operand.target is target


def _shape(operand: object) -> object:
    return operand.meta["val"].shape if isinstance(operand, Node) and "val" in operand.meta else None
