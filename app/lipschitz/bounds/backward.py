"""Linear bounds of one node, found backward through the network: CROWN (Zhang et al., NeurIPS 2018) on any graph.

A functional a^T v of the node's value v is bounded from below by functionals of earlier nodes: an affine map moves
its rows back exactly, an activation puts its line below in place of the function where the coefficient is positive
and its line above where it is negative, a product p q gives q0 p + p0 q - p0 q0 with an error of (spread p)(spread q)
about the middles p0 and q0 (the mean of McCormick's two planes), and what has no rule its range. What reaches the input
is least on the domain in closed form: by signs on a box, by the dual norm on a ball.

Every inequality is kept as computed: what rounding may have changed is bounded for the arguments that are possible, and
subtracted (`pull`). So the bounds are proved, whatever the lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod

import torch
from torch import Tensor

from ..domain import Ball, Box, Domain
from ..network.intervals import Interval
from ..network.nodes import Activation, Affine, Change, Concat, Input, Node, Nonlinear
from ..network.products import MatrixProduct, Product
from ..operators.rounding import TINY, UNIT, gamma
from ..operators.scaling import safe_norm
from .changes import lines_of_change
from .extremes import Selection
from .lines import Lines
from .pull import OUTWARD, pulled

SLACK = 4.0
"""Times the rounding is subtracted: another arithmetic, which errs as much and subtracts its own, proves it again."""
DUAL = {"1": float("inf"), "2": 2.0, "inf": 1.0}


@dataclass(eq=False)
class Backward:
    """Some functionals, `(B, n)` by node, whose sum with `constant` bounds from below; `lost`, `(B,)`, is rounding."""

    domain: Domain
    ranges: Mapping[Node, Interval]
    lines: Mapping[Activation, Lines]
    selections: Mapping[Nonlinear, Selection]
    rows: dict[Node, Tensor] = field(default_factory=dict)
    constant: Tensor = field(default_factory=lambda: torch.zeros(()))
    lost: Tensor = field(default_factory=lambda: torch.zeros(()))

    def least(self, node: Node, rows: Tensor, order: list[Node]) -> Tensor:
        """Lower bounds, `(B,)`, of rows `(B, n)` times the node's value; `order` lists its ancestors and it, in order.

        Minus infinity where there is none.
        """
        self.rows, self.constant, self.lost = {node: rows}, rows.new_zeros(len(rows)), rows.new_zeros(len(rows))
        for one in reversed(order):
            own = self.rows.pop(one, None)
            if own is not None:
                self._through(one, own)
        least = self.constant - SLACK * (OUTWARD * self.lost + TINY)
        return least.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)

    @singledispatchmethod
    def _through(self, node: Node, rows: Tensor) -> None:
        """A node without a rule of its own counts as anything in its range."""
        self._end(rows, self.ranges[node])

    @_through.register
    def _(self, node: Input, rows: Tensor) -> None:
        domain = self.domain
        if not isinstance(domain, Ball):
            assert isinstance(domain, Box)
            self._end(rows, self.ranges[node])
            return
        centre = domain.centre(node.size).to(rows.dtype)
        self._add(rows @ centre, gamma(node.size + 1) * (rows.abs() @ centre.abs()), node.size)
        reach = domain.radius * safe_norm(rows, DUAL[domain.p], dim=1)
        self._add(-reach, gamma(node.size + 8) * reach, node.size)

    @_through.register
    def _(self, node: Affine, rows: Tensor) -> None:
        self._shift(node, rows)
        for term in node.terms:
            self._pass(term.source, *pulled(term.operator, rows, self._reach(term.source)))

    @_through.register
    def _(self, node: Concat, rows: Tensor) -> None:
        self._shift(node, rows)
        blocks = rows.split([term.operator.out_size for term in node.terms], 1)
        for term, block in zip(node.terms, blocks, strict=True):
            self._pass(term.source, *pulled(term.operator, block, self._reach(term.source)))

    @_through.register
    def _(self, node: Activation, rows: Tensor) -> None:
        lines, reach = self.lines[node], self._reach(node.source)
        above, below = rows.clamp(min=0.0), rows.clamp(max=0.0)
        rows_back = above * lines.lower[0] + below * lines.upper[0]
        self._pass(node.source, rows_back, UNIT * (rows_back.abs() @ reach) + TINY * reach.sum())
        self._offsets(above, below, lines.lower[1], lines.upper[1])

    @_through.register
    def _(self, node: Nonlinear, rows: Tensor) -> None:
        selection = self.selections.get(node)
        if selection is None:
            self._end(rows, self.ranges[node])
            return
        above, below = rows.clamp(min=0.0), rows.clamp(max=0.0)
        good, bad = (above, below) if node.extreme > 0 else (below, above)
        moved, rest = good + torch.where(selection.settled, bad, 0.0), torch.where(selection.settled, 0.0, bad)
        share = gamma(selection.copies + 4) * self._reach(node.source).max()
        self._pass(node.source, selection.back(moved), moved.abs().sum(1) * share)
        self._end(rest, self.ranges[node])

    @_through.register
    def _(self, node: Change, rows: Tensor) -> None:
        """By the line through the arguments' change, or as the difference of both values: what is closer."""
        known = lines_of_change(node, self.ranges, self.lines)
        if known is None:
            self._end(rows, self.ranges[node])
            return
        lines, is_apart = known
        own, apart = torch.where(is_apart, 0.0, rows), torch.where(is_apart, rows, 0.0)
        none = rows.new_zeros(len(rows))
        self._pass(node.left, apart, none)
        self._pass(node.right, -apart, none)
        above, below, reach = own.clamp(min=0.0), own.clamp(max=0.0), self._reach(node.change)
        rows_back = above * lines.lower[0] + below * lines.upper[0]
        self._pass(node.change, rows_back, UNIT * (rows_back.abs() @ reach) + TINY * reach.sum())
        self._offsets(above, below, lines.lower[1], lines.upper[1])

    @_through.register
    def _(self, node: Product, rows: Tensor) -> None:
        (p, r), (q, s) = self._middle(node.left), self._middle(node.right)
        sizes = (p.abs() + r) * (q.abs() + s)
        for source, factor in ((node.left, q), (node.right, p)):
            self._pass(source, rows * factor, UNIT * (rows.abs() @ sizes) + TINY * self._reach(source).sum())
        self._offsets(rows.clamp(min=0.0), rows.clamp(max=0.0), -(p * q) - r * s, -(p * q) + r * s)
        self.lost = self.lost + 4 * UNIT * (rows.abs() @ sizes) + rows.abs() @ torch.full_like(sizes, 4 * TINY)

    @_through.register
    def _(self, node: MatrixProduct, rows: Tensor) -> None:
        b, n, k, m = node.sizes
        (p, r), (q, s) = self._middle(node.left), self._middle(node.right)
        left, right = node.factors(p, q)
        spread, wide = node.factors(r, s)
        shaped = rows.reshape(-1, b, n, m)
        sizes = ((left.abs() + spread) @ (right.abs() + wide)).flatten()
        share = (rows.abs() @ sizes) * (gamma(max(n, m) + 1)) + (n + m) * TINY * (self._reach(node.left).sum() + 1)
        self._pass(node.left, (shaped @ right.mT).flatten(1), share)
        self._pass(node.right, (left.mT @ shaped).flatten(1), share + (n + m) * TINY * self._reach(node.right).sum())
        middle, error = (left @ right).flatten(), (spread @ wide).flatten()
        self._offsets(rows.clamp(min=0.0), rows.clamp(max=0.0), -middle - error, -middle + error)
        self.lost = self.lost + gamma(k + 4) * (rows.abs() @ sizes) + rows.abs().sum(1) * ((k + 4) * TINY)

    def _middle(self, node: Node) -> tuple[Tensor, Tensor]:
        """Middle and at least half the length of the range."""
        lower, upper = self.ranges[node].lower, self.ranges[node].upper
        middle = lower / 2 + upper / 2
        return middle, torch.maximum(upper - middle, middle - lower) * (1 + 4 * UNIT) + TINY

    def _reach(self, node: Node) -> Tensor:
        return self.ranges[node].magnitude

    def _pass(self, node: Node, rows: Tensor, lost: Tensor) -> None:
        """Adds rows to what is asked of a node."""
        known = self.rows.get(node)
        self.lost = self.lost + lost
        if known is not None:
            rows = known + rows
            self.lost = self.lost + UNIT * (rows.abs() @ self._reach(node))
        self.rows[node] = rows

    def _shift(self, node: Affine | Concat, rows: Tensor) -> None:
        if node.bias is not None:
            self._add(rows @ node.bias, gamma(node.size + 1) * (rows.abs() @ node.bias.abs()), node.size)
        if node.bias_radius is not None:
            self._add(-OUTWARD * (rows.abs() @ node.bias_radius), rows.new_zeros(len(rows)), node.size)

    def _end(self, rows: Tensor, ends: Interval) -> None:
        self._offsets(rows.clamp(min=0.0), rows.clamp(max=0.0), ends.lower, ends.upper)

    def _offsets(self, above: Tensor, below: Tensor, lower: Tensor, upper: Tensor) -> None:
        """The least of a number between `lower` and `upper`; infinite ends count only where they are met."""
        finite = torch.isfinite(lower) & torch.isfinite(upper)
        if not bool(finite.all()):
            met = (above[:, ~torch.isfinite(lower)] != 0).any(1) | (below[:, ~torch.isfinite(upper)] != 0).any(1)
            self.lost = torch.where(met, torch.inf, self.lost)
            lower, upper = (torch.where(torch.isfinite(end), end, 0.0) for end in (lower, upper))
        size = above @ lower.abs() + below.abs() @ upper.abs()
        self._add(above @ lower + below @ upper, gamma(len(lower) + 2) * size, len(lower))

    def _add(self, number: Tensor, lost: Tensor, terms: int) -> None:
        """Adds to the constant; products that underflow and the addition's own rounding are counted."""
        self.constant = self.constant + number
        self.lost = self.lost + lost + UNIT * self.constant.abs() + terms * TINY


def signed_rows(node: Node, chunk: Tensor) -> Tensor:
    """Rows `(2 k, n)` that read some entries of the node, and minus them."""
    count = len(chunk)
    rows = torch.zeros(2 * count, node.size, dtype=torch.float64, device=chunk.device)
    rows[torch.arange(count), chunk] = 1.0
    rows[count + torch.arange(count), chunk] = -1.0
    return rows
