"""Linear functionals of a node's value on many balls, moved back to the input: `backward` for pairs (ball, functional).

What arrives at the input, a x + c, bounds the functional from below on the whole ball, so on every smaller ball about
the same centre too: a failed attempt at one radius still proves a smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod

import torch
from torch import Tensor

from ..network.nodes import Activation, Affine, Concat, Node
from ..operators.rounding import TINY, UNIT, gamma
from ..operators.scaling import safe_norm
from .backward import DUAL, SLACK
from .balls import Ranges
from .many import Many
from .pull import OUTWARD, pulled

CHUNK = 2**22
"""Entries of one matrix of functionals."""

Slopes = Mapping[Activation, Tensor]
"""Slopes from 0 to 1, `(K, n)`, of the lines below rectifiers, in place of the closed form's."""


@dataclass(frozen=True, eq=False)
class Least:
    """`rows x + constant - lost` is below the functional on the ball: `(K, n)`, `(K,)` and `(K,)`."""

    rows: Tensor
    constant: Tensor
    lost: Tensor

    def at(self, centres: Tensor) -> Tensor:
        """A lower bound at the centres, `(K, n)`, rounded down."""
        n = self.rows.shape[1]
        size = (self.rows * centres).abs().sum(1)
        value = self.constant + (self.rows * centres).sum(1)
        lost = self.lost + gamma(n + 2) * size + UNIT * (value.abs() + self.constant.abs()) + n * TINY
        return _proved(value, lost)

    def slope(self, p: str) -> Tensor:
        """How much that may fall within a unit distance, rounded up."""
        n = self.rows.shape[1]
        return safe_norm(self.rows, DUAL[p], dim=1) * (1 + SLACK * gamma(n + 8)) + n * TINY

    def on(self, centres: Tensor, radii: Tensor, p: str) -> Tensor:
        """A lower bound on the balls, `(K,)`."""
        value, fall = self.at(centres), radii * self.slope(p)
        return _proved(value - fall, UNIT * (value.abs() + 2 * fall))


def _proved(value: Tensor, lost: Tensor) -> Tensor:
    proved = value - SLACK * (OUTWARD * lost + TINY)
    return proved.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


@dataclass(eq=False)
class Functionals:
    """Some functionals of one node, `(K, n)` with their balls `sample` `(K,)`, on their way back."""

    many: Many
    sample: Tensor
    slopes: Slopes = field(default_factory=dict)
    seen: dict[Activation, Tensor] = field(default_factory=dict)
    rows: dict[Node, Tensor] = field(default_factory=dict)
    constant: Tensor = field(default_factory=lambda: torch.zeros(()))
    lost: Tensor = field(default_factory=lambda: torch.zeros(()))

    def least(self, node: Node, rows: Tensor, multipliers: Slopes | None = None) -> Least:
        """Lower bounds of rows `(K, n)` times the node's value; `seen` has what came to each activation.

        With `multipliers`, other rows by activation, of the values that it reads added to them.
        """
        more = {one.source: own for one, own in (multipliers or {}).items()}
        self.rows, self.constant, self.lost = {node: rows} | more, rows.new_zeros(len(rows)), rows.new_zeros(len(rows))
        network = self.many.network
        first = network.nodes.index(node)
        for one in reversed(network.nodes[1 : first + 1]):
            own = self.rows.pop(one, None)
            if own is not None:
                self._through(one, own)
        own = self.rows.get(network.input)
        own = rows.new_zeros(len(rows), network.input.size) if own is None else own
        return Least(own, self.constant, self.lost)

    @singledispatchmethod
    def _through(self, node: Node, rows: Tensor) -> None:
        raise NotImplementedError(type(node).__name__)

    @_through.register
    def _(self, node: Affine, rows: Tensor) -> None:
        self._shift(node, rows)
        for term in node.terms:
            self._pass(term.source, *pulled(term.operator, rows, self._known(term.source).reach))

    @_through.register
    def _(self, node: Concat, rows: Tensor) -> None:
        self._shift(node, rows)
        blocks = rows.split([term.operator.out_size for term in node.terms], 1)
        for term, block in zip(node.terms, blocks, strict=True):
            self._pass(term.source, *pulled(term.operator, block, self._known(term.source).reach))

    @_through.register
    def _(self, node: Activation, rows: Tensor) -> None:
        lines, reach = self.many.lines_of(node), self._known(node.source).reach
        self.seen[node] = rows
        above, below = rows.clamp(min=0.0), rows.clamp(max=0.0)
        lower = self.slopes.get(node) if lines.is_rectifier else None
        lower = lines.below[0][self.sample] if lower is None else lower
        moved = above * lower + below * lines.above[0][self.sample]
        self._pass(node.source, moved, UNIT * (moved.abs() @ reach) + TINY * reach.sum())
        self._offsets(above, lines.below[1])
        self._offsets(below, lines.above[1])

    def _known(self, node: Node) -> Ranges:
        return self.many.ranges[node]

    def _pass(self, node: Node, rows: Tensor, lost: Tensor) -> None:
        known = self.rows.get(node)
        self.lost = self.lost + lost
        if known is not None:
            rows = known + rows
            self.lost = self.lost + UNIT * (rows.abs() @ self._known(node).reach)
        self.rows[node] = rows

    def _shift(self, node: Affine | Concat, rows: Tensor) -> None:
        if node.bias is not None:
            self._add(rows @ node.bias, gamma(node.size + 1) * (rows.abs() @ node.bias.abs()), node.size)
        if node.bias_radius is not None:
            self._add(-OUTWARD * (rows.abs() @ node.bias_radius), rows.new_zeros(len(rows)), node.size)

    def _offsets(self, rows: Tensor, offsets: Tensor) -> None:
        """Offsets `(S, n)`; an infinite one counts only where it is met."""
        if not bool(offsets.any()):
            return
        own = offsets[self.sample]
        terms = torch.where(rows == 0.0, 0.0, rows * own)
        self._add(terms.sum(1), gamma(rows.shape[1] + 2) * terms.abs().sum(1), rows.shape[1])

    def _add(self, number: Tensor, lost: Tensor, terms: int) -> None:
        self.constant = self.constant + number
        self.lost = self.lost + lost + UNIT * self.constant.abs() + terms * TINY


def narrowed(many: Many, node: Node, open_entries: Tensor) -> None:
    """Both ends of the open entries `(S, n)` by linear bounds, a chunk at a time while there is time."""
    sample, entry = open_entries.nonzero(as_tuple=True)
    widest = max(one.size for one in many.network.nodes)
    for part in torch.arange(len(sample)).split(max(1, CHUNK // (2 * widest))):
        if many.is_over():
            return
        s, e = sample[part], entry[part]
        rows = torch.zeros(2 * len(part), node.size, dtype=torch.float64, device=s.device)
        rows[torch.arange(len(part)), e] = 1.0
        rows[len(part) + torch.arange(len(part)), e] = -1.0
        both = s.repeat(2)
        least_of = Functionals(many, both).least(node, rows)
        least = least_of.on(many.balls.centres[both], many.balls.radii[both], many.balls.p)
        many.meet(node, s, e, least[: len(part)], -least[len(part) :])
