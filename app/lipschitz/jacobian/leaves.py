"""Nodes of the network read backwards that no network forward has, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..network.ends import MARGIN
from ..network.intervals import Interval, enclose
from ..network.nodes import Constants, Node
from ..operators.rounding import gamma


@dataclass(frozen=True, eq=False)
class Known(Node):
    """Numbers of which a range is known."""

    values: Interval

    @property
    def sources(self) -> tuple[Node, ...]:
        return ()

    def apply(self, *_values: Tensor) -> Tensor:
        return (self.values.lower / 2 + self.values.upper / 2)[None]


@dataclass(frozen=True, eq=False)
class Spread(Node):
    """g^T J for a matrix J of which norms are known, by norm: |g^T J|_j is at most |g|_inf |J|_1, |g|_2 |J|_2 and
    |g|_1 |J|_inf.
    """

    row: Node
    constants: Constants

    @property
    def sources(self) -> tuple[Node, ...]:
        return (self.row,)

    def apply(self, *values: Tensor) -> Tensor:
        return values[0].new_zeros(len(values[0]), self.size)


@enclose.register
def _(node: Known) -> Interval:
    return node.values


@enclose.register
def _(node: Spread, *sources: Interval) -> Interval:
    (row,) = sources
    size = row.magnitude
    sizes = {"1": size.max(), "2": torch.linalg.vector_norm(size) + 2.0**-500, "inf": size.sum()}
    reaches = torch.stack([sizes[p] * constant for p, constant in node.constants.items()])
    least = (
        reaches.nan_to_num(nan=torch.inf, posinf=torch.inf).amin()
        if bool((size > 0.0).any())
        else reaches.new_zeros(())
    )
    reach = (least * (1.0 + MARGIN + gamma(len(size) + 4)) + 2.0**-1000).expand(node.size)
    return Interval(-reach, reach)
