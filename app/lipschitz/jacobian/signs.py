"""Which signs the entries of a row can have, told without rounding: the verdicts of monotonicity rest on it.

Interval arithmetic moves every end outwards, so a derivative that cannot be negative comes out a little below zero.
What sums of numbers of known signs can be is told from the signs of the weights alone; where those are known only up
to an error that is larger than they are, both count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

import torch
from torch import Tensor

from ..network.intervals import Interval
from ..network.nodes import Activation, Affine, Node
from ..network.products import MatrixProduct
from ..operators.adjoint import adjoint
from ..operators.base import LinearOperator
from ..operators.composite import Adjoint, Composed, Stack, Sum
from ..operators.convolution import Convolution
from ..operators.dense import Dense
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from .factor import Factor


@dataclass(frozen=True, eq=False)
class Signs:
    """Whether an entry can be above zero, and below, `(n,)` booleans each."""

    above: Tensor
    below: Tensor

    @classmethod
    def of(cls, interval: Interval) -> Signs:
        """What the ends say; an end that is no number says nothing."""
        return cls(~(interval.upper <= 0.0), ~(interval.lower >= 0.0))

    def joined(self, other: Signs) -> Signs:
        return Signs(self.above | other.above, self.below | other.below)

    def times(self, other: Signs) -> Signs:
        above = (self.above & other.above) | (self.below & other.below)
        return Signs(above, (self.above & other.below) | (self.below & other.above))

    def cut(self, interval: Interval) -> Interval:
        """The part of the interval that they leave."""
        lower = torch.where(self.below, interval.lower, interval.lower.clamp(min=0.0))
        return replace(
            interval, lower=lower, upper=torch.where(self.above, interval.upper, interval.upper.clamp(max=0.0))
        )


def signs(node: Node, interval: Interval, *sources: Signs) -> Signs:
    """Of a node of the network read backwards, whose interval is known."""
    own = Signs.of(interval)
    if isinstance(node, Affine) and node.bias is None and node.bias_radius is None:
        parts = [moved(term.operator, source) for term, source in zip(node.terms, sources, strict=True)]
        for part in parts[1:]:
            parts[0] = parts[0].joined(part)
        own = Signs(own.above & parts[0].above, own.below & parts[0].below)
    elif isinstance(node, Activation) and isinstance(node.scalar, Factor):
        signs_ = Signs(~(node.scalar.most <= 0.0), ~(node.scalar.least >= 0.0)).times(sources[0])
        own = Signs(own.above & signs_.above, own.below & signs_.below)
    elif isinstance(node, MatrixProduct):
        signs_ = _multiplied(node, *sources)
        own = Signs(own.above & signs_.above, own.below & signs_.below)
    return own


def _multiplied(node: MatrixProduct, left: Signs, right: Signs) -> Signs:
    """Of a matrix product, from how many products of each sign there can be."""
    (up, high), (down, low) = (
        node.factors(*(mark.to(torch.float64) for mark in pair))
        for pair in ((left.above, right.above), (left.below, right.below))
    )
    return Signs((up @ high + down @ low).flatten() > 0.5, (up @ low + down @ high).flatten() > 0.5)


@singledispatch
def moved(operator: LinearOperator, x: Signs) -> Signs:
    """Signs of A x; any of them where the operator's own are not known."""
    some = bool((x.above | x.below).any())
    both = torch.full((operator.out_size,), some, device=x.above.device)
    return Signs(both, both)


@moved.register
def _(operator: Reshape, x: Signs) -> Signs:  # noqa: ARG001 - the identity on flat vectors
    return x


@moved.register
def _(operator: Gather, x: Signs) -> Signs:
    return Signs(_counted(operator, x.above), _counted(operator, x.below))


@moved.register
def _(operator: Dense, x: Signs) -> Signs:
    return _by_weights(operator, "matrix", x)


@moved.register
def _(operator: Diagonal, x: Signs) -> Signs:
    return _by_weights(operator, "weight", x)


@moved.register
def _(operator: Convolution, x: Signs) -> Signs:
    return _by_weights(operator, "kernel", x)


@moved.register
def _(operator: Adjoint, x: Signs) -> Signs:
    inner = operator.operator
    if isinstance(inner, Gather):
        return Signs(_counted(operator, x.above), _counted(operator, x.below))
    if isinstance(inner, Convolution):
        return _by_weights(inner, "kernel", x, is_turned=True)
    turned = adjoint(inner)
    return moved.dispatch(LinearOperator)(operator, x) if isinstance(turned, Adjoint) else moved(turned, x)


@moved.register
def _(operator: Composed, x: Signs) -> Signs:
    for part in reversed(operator.parts):
        x = moved(part, x)
    return x


@moved.register
def _(operator: Sum, x: Signs) -> Signs:
    total, *others = [moved(part, x) for part in operator.parts]
    for other in others:
        total = total.joined(other)
    return total


@moved.register
def _(operator: Stack, x: Signs) -> Signs:
    parts = [moved(part, x) for part in operator.parts]
    return Signs(torch.cat([part.above for part in parts]), torch.cat([part.below for part in parts]))


def _by_weights(operator: Dense | Diagonal | Convolution, name: str, x: Signs, *, is_turned: bool = False) -> Signs:
    """From the weights that can be above zero and those that can be below."""
    weight, error = getattr(operator, name), operator.error
    halves = []
    for known in (weight > -error, weight < error):
        plain = replace(operator, **{name: (known & (weight != 0.0)).to(torch.float64), "error": 0.0})
        halves.append(Adjoint(plain) if is_turned else plain)
    up, down = halves
    return Signs(_counted(up, x.above) | _counted(down, x.below), _counted(up, x.below) | _counted(down, x.above))


def _counted(operator: LinearOperator, marked: Tensor) -> Tensor:
    """Where an operator of zeros and ones reads a marked entry; a fast convolution may round its counts."""
    return operator.mv(marked.to(torch.float64)[None])[0] > 0.5
