"""Balls, and ranges of values on many of them at once, by interval arithmetic as `network.intervals` has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from ..network.ends import MARGIN, around, total, widened
from ..network.nodes import Activation, Affine, Concat, Node
from ..network.row_norms import row_norms
from ..operators.base import LinearOperator
from ..operators.composite import Composed, Stack, Sum
from ..operators.gather import Gather
from ..operators.norm import Norm
from ..operators.reshape import Reshape
from ..operators.rounding import TINY, gamma


@dataclass(frozen=True, eq=False)
class Balls:
    """Balls `||x - centres[s]||_p <= radii[s]`: `(S, n)` and `(S,)`."""

    centres: Tensor
    radii: Tensor
    p: Norm

    def __len__(self) -> int:
        return len(self.centres)

    def part(self, rows: Tensor) -> Balls:
        """Some of them."""
        return Balls(self.centres[rows], self.radii[rows], self.p)


@dataclass(frozen=True, eq=False)
class Ranges:
    """`lower <= v <= upper` of a node's value on each ball, `(S, n)`; `balls` where the values are those of the input.

    Ends that are not known are infinite.
    """

    lower: Tensor
    upper: Tensor
    balls: Balls | None = None

    @property
    def reach(self) -> Tensor:
        """The largest |v| of every entry on any ball, `(n,)`."""
        return torch.maximum(self.lower.abs(), self.upper.abs()).amax(0)


def of_balls(balls: Balls) -> Ranges:
    """The coordinates' ranges on the balls."""
    radii = balls.radii[:, None]
    allowance = MARGIN * (balls.centres.abs() + radii)
    lower, upper = widened(balls.centres - radii, balls.centres + radii, allowance)
    still = radii == 0.0
    return Ranges(torch.where(still, balls.centres, lower), torch.where(still, balls.centres, upper), balls)


def enclose(node: Node, known: Mapping[Node, Ranges]) -> Ranges:
    """A node's ranges from those of its sources, by interval arithmetic."""
    if isinstance(node, Activation):
        source = known[node.source]
        return Ranges(*node.scalar.range(source.lower, source.upper))
    assert isinstance(node, Affine | Concat)
    images = [image(term.operator, known[term.source]) for term in node.terms]
    ends = _total(images) if isinstance(node, Affine) else _joined(images)
    if node.bias is None and node.bias_radius is None:
        return ends
    shift = torch.zeros_like(ends.lower[0]) if node.bias is None else node.bias
    return Ranges(*total((ends.lower, ends.upper), around(shift, node.bias_radius)))


def _total(parts: list[Ranges]) -> Ranges:
    ends = parts[0].lower, parts[0].upper
    for part in parts[1:]:
        ends = total(ends, (part.lower, part.upper))
    return Ranges(*ends)


def _joined(parts: list[Ranges]) -> Ranges:
    return Ranges(torch.cat([part.lower for part in parts], 1), torch.cat([part.upper for part in parts], 1))


@singledispatch
def image(operator: LinearOperator, x: Ranges) -> Ranges:
    """Enclosure of {A x}: the middle's image and the majorant's image of the spread, as `intervals.image`."""
    middle = x.lower / 2 + x.upper / 2
    spread = torch.maximum(x.upper - middle, middle - x.lower)
    size = middle.abs() + spread
    wide, rounding = operator.majorant().mv(torch.cat([spread, size])).split(len(middle))
    lost = MARGIN + 2 * gamma(operator.depth + 2)
    if x.balls is not None:
        wide = torch.minimum(wide, x.balls.radii[:, None] * row_norms(operator, x.balls.p) * (1 + lost))
    largest = size.amax(1, keepdim=True) if operator.in_size else 0.0
    allowed = lost * rounding + operator.error * largest + 4 * (operator.depth + 2) * TINY
    at = operator.mv(middle)
    return Ranges(*widened(at, at, wide + allowed))


@image.register
def _(operator: Reshape, x: Ranges) -> Ranges:  # noqa: ARG001 - the identity on flat vectors
    return x


@image.register
def _(operator: Gather, x: Ranges) -> Ranges:
    return Ranges(operator.mv(x.lower), operator.mv(x.upper))


@image.register
def _(operator: Composed, x: Ranges) -> Ranges:
    for part in reversed(operator.parts):
        x = image(part, x)
    return x


@image.register
def _(operator: Sum, x: Ranges) -> Ranges:
    return _total([image(part, x) for part in operator.parts])


@image.register
def _(operator: Stack, x: Ranges) -> Ranges:
    return _joined([image(part, x) for part in operator.parts])
