"""Collects the nodes of a network while the captured graph is walked; fuses affine steps on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..artifact.captured import Origin
from ..operators import algebra
from ..operators.base import Shape
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from ..operators.rounding import UNIT
from .ends import MARGIN
from .nodes import (
    Activation,
    Affine,
    Concat,
    Constants,
    Enclosure,
    Input,
    Kind,
    Network,
    Node,
    Nonlinear,
    Partials,
    Term,
    nondecreasing,
)
from .scalar import Scalar
from .values import Linear, flat_or_none, merge_origins

ONE: Constants = {"1": 1.0, "2": 1.0, "inf": 1.0}


class Builder:
    """The growing network. Values stay `Linear` until a nonlinear reader or a merge needs them as a node."""

    def __init__(self, input_shapes: Sequence[Shape]) -> None:
        sizes = [math.prod(shape) for shape in input_shapes]
        self._input = Input(tuple(input_shapes[0]) if len(sizes) == 1 else (sum(sizes),), ())
        self._nodes: list[Node] = [self._input]
        self._emitted: dict[Linear, Node] = {}
        self._pairs: list[tuple[Linear, Linear, Linear]] = []
        starts = [sum(sizes[:position]) for position in range(len(sizes))]
        self.inputs = [self._placeholder(start, shape) for start, shape in zip(starts, input_shapes, strict=True)]

    def _placeholder(self, start: int, shape: Shape) -> Linear:
        size = math.prod(shape)
        if size == self._input.size:
            return Linear(self._input, Reshape(self._input.shape, shape))
        index = torch.arange(start, start + size)
        return Linear(self._input, Gather(self._input.shape, shape, index))

    def emit(self, value: Linear) -> Node:
        """The node that holds `value`; the source itself when nothing was done to it."""
        if isinstance(value.operator, Reshape) and value.bias is None and value.bias_radius is None:
            return value.source
        if value not in self._emitted:
            kind: Kind = "affine" if value.parameters else "structural"
            terms = (Term(value.source, value.operator),)
            self._emitted[value] = self._append(
                Affine(value.shape, value.origins, terms, value.bias, value.parameters, kind, value.bias_radius)
            )
        return self._emitted[value]

    def activation(self, value: Linear, scalar: Scalar, origin: Origin) -> Linear:
        """An elementwise function of `value`."""
        source = self.emit(value)
        return self._identity(self._append(Activation(value.shape, (origin,), source, scalar)))

    def nonlinear(
        self,
        value: Linear,
        shape: Shape,
        function: Callable[[Tensor], Tensor],
        constants: Constants,
        kind: Kind,
        *,
        origin: Origin,
        enclosure: Enclosure,
        local: Callable[[Tensor, Tensor], Constants] | None = None,
        simplex: int = 0,
        extreme: int = 0,
        windows: Tensor | None = None,
        partials: Partials | None = None,
    ) -> Linear:
        """A map from tensors of `value.shape` to tensors of `shape`; `function` sees one extra batch axis.

        `enclosure` and `local` see flat vectors, as the node does; `simplex`, `extreme`, `windows` and `partials` as
        there.
        """
        source, in_shape = self.emit(value), value.shape

        def on_flat(x: Tensor) -> Tensor:
            return function(x.reshape(x.shape[0], *in_shape)).reshape(x.shape[0], -1)

        return self.append(
            Nonlinear(
                shape, (origin,), source, on_flat, constants, kind, enclosure, local, simplex, extreme, windows,
                partials,
            )
        )  # fmt: skip

    def append(self, node: Node) -> Linear:
        """The value of a node whose sources were emitted before."""
        return self._identity(self._append(node))

    def add(self, values: Sequence[Linear], signs: Sequence[float], origin: Origin) -> Linear:
        """`sum_j sign_j value_j`; stays fused while all come from one node, else becomes a merge node."""
        scaled = [value if sign == 1.0 else scaled_by(value, sign) for value, sign in zip(values, signs, strict=True)]
        shape, offset = scaled[0].shape, torch.stack([value.offset() for value in scaled]).sum(0)
        radius = _sum_radius(scaled)
        origins = merge_origins(*(value.origins for value in scaled), (origin,))
        parameters = sum(value.parameters for value in scaled)
        terms = [Term(value.source, value.operator) for value in scaled]
        by_source = _gather_by_source(terms)
        if len(by_source) == 1:
            (term,) = by_source
            return Linear(term.source, term.operator, flat_or_none(offset), origins, parameters, radius)
        node = Affine(shape, origins, tuple(by_source), flat_or_none(offset), parameters, "merge", radius)
        return self._identity(self._append(node))

    def ordered(self, left: Linear, right: Linear, origin: Origin) -> tuple[Linear, Linear]:
        """The larger and the smaller entry of two values of one shape, both from one node that puts pairs in order.

        Near almost every point that is a permutation, so its constant is 1 in every norm, for both together.
        """
        orders = [known for a, b, known in self._pairs if {_key(a), _key(b)} == {_key(left), _key(right)}]
        pair = orders[0] if orders else self._in_order(left, right, origin)
        halves = torch.arange(pair.operator.out_size).reshape(2, *left.shape)
        larger, smaller = (_picked(pair, half) for half in halves)
        return larger, smaller

    def _in_order(self, left: Linear, right: Linear, origin: Origin) -> Linear:
        joined = self.stack([left, right], origin)
        half = joined.operator.out_size // 2

        def order(x: Tensor) -> Tensor:
            a, b = x[:, :half], x[:, half:]
            return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], 1)

        pair = self.nonlinear(joined, joined.shape, order, ONE, "merge", origin=origin, enclosure=nondecreasing)
        self._pairs.append((left, right, pair))
        return pair

    def stack(self, values: Sequence[Linear], origin: Origin) -> Linear:
        """The values' entries end to end as one flat vector."""
        bias = flat_or_none(torch.cat([value.offset().reshape(-1) for value in values]))
        radius = flat_or_none(torch.cat([value.radius() for value in values]))
        origins = merge_origins(*(value.origins for value in values), (origin,))
        parameters = sum(value.parameters for value in values)
        if len({value.source for value in values}) == 1:
            stacked = algebra.stack([value.operator for value in values])
            return Linear(values[0].source, stacked, bias, origins, parameters, radius)
        terms = tuple(Term(value.source, value.operator) for value in values)
        size = sum(value.operator.out_size for value in values)
        return self._identity(self._append(Concat((size,), origins, terms, bias, parameters, radius)))

    def constant(self, value: Tensor) -> Linear:
        """A constant tensor as a value that depends on the input by zero."""
        nowhere = torch.full((value.numel(),), -1)
        operator = Gather(self._input.shape, tuple(value.shape), nowhere)
        return Linear(self._input, operator, flat_or_none(value.to(torch.float64)))

    def finish(self, outputs: Sequence[Linear], origin: Origin) -> Network:
        """The network whose value is all outputs end to end."""
        joined = outputs[0] if len(outputs) == 1 else self.stack(outputs, origin)
        last = self.emit(joined)
        return Network(_needed(self._nodes, last))

    def _append(self, node: Node) -> Node:
        self._nodes.append(node)
        return node

    @staticmethod
    def _identity(node: Node) -> Linear:
        return Linear(node, Reshape((node.size,), node.shape))


def _picked(value: Linear, index: Tensor) -> Linear:
    gather = Gather(value.shape, tuple(index.shape), index.reshape(-1))
    return replace(value, operator=algebra.compose(gather, value.operator))


def _key(value: Linear) -> object:
    """The same for two values that are the same entries of one node."""
    if isinstance(value.operator, Gather) and value.bias is None and value.bias_radius is None:
        return value.source, value.shape, value.operator.index.numpy(force=True).tobytes()
    return value


def scaled_by(value: Linear, factor: float) -> Linear:
    """`factor * value` for a factor that is exact in floating point."""
    if abs(factor) == 1.0:
        bias = None if value.bias is None else factor * value.bias
        return replace(value, operator=algebra.scale(value.operator, factor), bias=bias)
    weight = torch.tensor(factor, dtype=torch.float64)
    return value.then(Diagonal(value.shape, value.shape, weight), factor * value.offset(), None)


def _sum_radius(values: Sequence[Linear]) -> Tensor | None:
    """Of the biases' sum: theirs, and the rounding of the additions where there are some."""
    sizes = torch.stack([value.offset().reshape(-1).abs() for value in values])
    additions = (sizes > 0.0).sum(0) - 1
    rounding = torch.where(additions > 0, 2.0 * UNIT * additions * sizes.sum(0), 0.0)
    own = torch.stack([value.radius() for value in values]).sum(0)
    return flat_or_none((own + rounding) * (1.0 + MARGIN))


def _gather_by_source(terms: Sequence[Term]) -> list[Term]:
    merged: dict[Node, Term] = {}
    for term in terms:
        known = merged.get(term.source)
        operator = term.operator if known is None else algebra.add(known.operator, term.operator)
        merged[term.source] = Term(term.source, operator)
    return list(merged.values())


def _needed(nodes: Sequence[Node], last: Node) -> tuple[Node, ...]:
    """The nodes that `last` depends on, in order, `last` at the end; the input always comes first."""
    needed = {last, nodes[0]}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.sources)
    return (*(node for node in nodes if node in needed and node is not last), last)
