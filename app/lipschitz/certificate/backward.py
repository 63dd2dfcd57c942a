"""Lower bounds of linear functionals of a node's value, in explicit matrices: the check of a certificate's ranges.

Going back from the node, every step replaces a functional by one of earlier nodes and a constant that is no larger for
any arguments within the ranges known so far: affine maps by their matrices, activations by proved lines, products by
(p - p0)(q - q0) >= -(spread p)(spread q), maxima by one of their entries, everything else by its range. Rounding is
counted step by step: rows of length m times a matrix A are off by gamma_m |row| |A| entry by entry, which matters as
much as the arguments are large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

import numpy as np
import torch
from numpy.typing import NDArray

from ..domain import Ball as BallDomain
from ..domain import Domain
from ..network.nodes import Activation, Affine, Concat, Input, Node, Nonlinear, Term
from ..network.products import MatrixProduct, Product
from .balls import OUTWARD, TINY, UNIT, Array, Ball, share
from .matrices import array, matrix

MOST_MEMBERS = 2**24
DUAL = {"1": np.inf, "2": 2, "inf": 1}

Positions = NDArray[np.intp]
Ends = tuple[Array, Array]
Lines = tuple[Array, Array, Array, Array]
"""Slope and offset of the line below, slope and offset of the line above."""
Chosen = tuple[Positions, Array, Array, Array]
"""Neurons `(k,)`, and for every row a slope `(B, k)` with the offsets of the lines below and above that have it."""


NO_CHOICE: Mapping[Activation, Chosen] = {}


@dataclass(eq=False)
class Facts:
    """What is proved so far of nodes: ranges, and lines around activations; matrices are made once."""

    domain: Domain
    ranges: dict[Node, Ends] = field(default_factory=dict)
    lines: dict[Activation, Lines] = field(default_factory=dict)
    chosen: dict[Nonlinear, tuple[Array, NDArray[np.bool_]]] = field(default_factory=dict)
    _matrices: dict[Term, Ball] = field(default_factory=dict)

    def matrix(self, term: Term) -> Ball:
        """An affine map's matrix."""
        if term not in self._matrices:
            self._matrices[term] = matrix(term.operator)
        return self._matrices[term]

    def reach(self, node: Node) -> Array:
        """The largest absolute values."""
        lower, upper = self.ranges[node]
        return np.maximum(np.abs(lower), np.abs(upper))

    def choose(self, node: Nonlinear) -> None:
        """Which entry stands for each value of a maximum or minimum, and whether no other can be it."""
        if not node.extreme or node.source.size * max(node.size, node.source.size) > MOST_MEMBERS:
            return
        lower, upper = self.ranges[node.source]
        if not (np.isfinite(lower) & np.isfinite(upper)).all():
            return
        if node.extreme < 0:
            lower, upper = -upper, -lower
        ones = node.extreme * torch.eye(node.source.size, dtype=torch.float64)
        members = node.extreme * array(node.apply(ones)) > 0.5
        winner = np.where(members, (lower / 2 + upper / 2)[:, None], -np.inf).argmax(axis=0)
        others = members.copy()
        others[winner, np.arange(node.size)] = False
        certain = np.where(others, upper[:, None], -np.inf).max(axis=0) <= lower[winner]
        placed = np.zeros(members.shape)
        placed[winner, np.arange(node.size)] = members.any(axis=0)
        self.chosen[node] = placed, certain

    def least(
        self, node: Node, rows: Array, order: Sequence[Node], chosen: Mapping[Activation, Chosen] = NO_CHOICE
    ) -> tuple[Array, Array]:
        """Bounds of rows times the node's value from below, and what rounding may have changed, which is subtracted.

        `order` has the node and all that it depends on, in topological order. `chosen` lines take the place of those
        of `lines`.
        """
        walk = _Backward(self, {node: rows}, np.zeros(len(rows)), np.zeros(len(rows)), chosen)
        for one in reversed(order):
            own = walk.rows.pop(one, None)
            if own is not None:
                walk.through(one, own)
        lost = OUTWARD * walk.lost + TINY
        value = walk.constant - lost
        return np.where(np.isfinite(value), value, -np.inf), lost


@dataclass(eq=False)
class _Backward:
    """Functionals by node; their sum and `constant` bound from below but for `lost`."""

    facts: Facts
    rows: dict[Node, Array]
    constant: Array
    lost: Array
    chosen: Mapping[Activation, Chosen]

    @singledispatchmethod
    def through(self, node: Node, rows: Array) -> None:
        """Anything without a rule: its range."""
        self._offsets(rows, *self.facts.ranges[node])

    @through.register
    def _(self, node: Input, rows: Array) -> None:
        domain = self.facts.domain
        if not isinstance(domain, BallDomain):
            self._offsets(rows, *self.facts.ranges[node])
            return
        centre = array(domain.centre(node.size))
        self._add(rows @ centre, share(node.size + 2) * (np.abs(rows) @ np.abs(centre)))
        scale = np.abs(rows).max(axis=1)
        unit = np.where(scale > 0.0, scale, 1.0)
        reach = domain.radius * unit * np.linalg.norm(rows / unit[:, None], DUAL[domain.p], axis=1)
        self._add(-reach, share(node.size + 16) * reach)

    @through.register
    def _(self, node: Affine, rows: Array) -> None:
        self._shift(node, rows)
        for term in node.terms:
            self._linear(term, rows)

    @through.register
    def _(self, node: Concat, rows: Array) -> None:
        self._shift(node, rows)
        first = 0
        for term in node.terms:
            self._linear(term, rows[:, first : first + term.operator.out_size])
            first += term.operator.out_size

    @through.register
    def _(self, node: Activation, rows: Array) -> None:
        below, under, above, over = self.facts.lines[node]
        moved = np.where(rows > 0.0, rows * below, rows * above)
        if node in self.chosen:
            at, slope, low, high = self.chosen[node]
            own, rows = rows[:, at], rows.copy()
            moved[:, at], rows[:, at] = own * slope, 0.0
            self._add_each(own, low, high)
        self._pass(node.source, moved, UNIT * (np.abs(moved) @ self.facts.reach(node.source)))
        self._offsets(rows, under, over)

    @through.register
    def _(self, node: Nonlinear, rows: Array) -> None:
        if node not in self.facts.chosen:
            self._offsets(rows, *self.facts.ranges[node])
            return
        placed, certain = self.facts.chosen[node]
        good = certain | (rows * node.extreme > 0.0)
        moved = np.where(good, rows, 0.0)
        reach = self.facts.reach(node.source)
        self._pass(node.source, moved @ placed.T, share(node.size + 2) * (np.abs(moved) @ (placed.T @ reach)))
        self._offsets(np.where(good, 0.0, rows), *self.facts.ranges[node])

    @through.register
    def _(self, node: Product, rows: Array) -> None:
        (p, r), (q, s) = self._middle(node.left), self._middle(node.right)
        size = np.abs(rows) @ ((np.abs(p) + r) * (np.abs(q) + s))
        self._pass(node.left, rows * q, 2.0 * UNIT * size)
        self._pass(node.right, rows * p, 2.0 * UNIT * size)
        self._offsets(rows, -(p * q) - r * s, -(p * q) + r * s)
        self.lost = self.lost + 8.0 * UNIT * size

    @through.register
    def _(self, node: MatrixProduct, rows: Array) -> None:
        b, n, k, m = node.sizes
        (p, r), (q, s) = self._middle(node.left), self._middle(node.right)
        left, spread = p.reshape(b, n, k), r.reshape(b, n, k)
        right, wide = q.reshape(b, k, m), s.reshape(b, k, m)
        shaped = rows.reshape(-1, b, n, m)
        size = np.abs(rows) @ ((np.abs(left) + spread) @ (np.abs(right) + wide)).reshape(-1)
        lost = share(max(n, m) + 4) * size
        self._pass(node.left, (shaped @ right.swapaxes(-1, -2)).reshape(len(rows), -1), lost)
        self._pass(node.right, (left.swapaxes(-1, -2) @ shaped).reshape(len(rows), -1), lost)
        middle, error = (left @ right).reshape(-1), (spread @ wide).reshape(-1)
        self._offsets(rows, -middle - error, -middle + error)
        self.lost = self.lost + 4.0 * share(k + 4) * size

    def _middle(self, node: Node) -> Ends:
        lower, upper = self.facts.ranges[node]
        middle = lower / 2 + upper / 2
        return middle, np.maximum(upper - middle, middle - lower) * (1.0 + 8.0 * UNIT) + TINY

    def _linear(self, term: Term, rows: Array) -> None:
        factor, reach = self.facts.matrix(term), self.facts.reach(term.source)
        away = (share(rows.shape[1] + 2) * np.abs(factor.middle) + factor.radius) @ reach * OUTWARD
        self._pass(term.source, rows @ factor.middle, np.abs(rows) @ away)

    def _shift(self, node: Affine | Concat, rows: Array) -> None:
        bias = np.zeros(node.size) if node.bias is None else array(node.bias)
        away = share(node.size + 2) * np.abs(bias)
        if node.bias_radius is not None:
            away = away + array(node.bias_radius)
        self._add(rows @ bias, np.abs(rows) @ away)

    def _pass(self, node: Node, rows: Array, lost: Array) -> None:
        reach = self.facts.reach(node)
        known = self.rows.get(node)
        total = rows if known is None else known + rows
        self.lost = self.lost + lost + UNIT * (np.abs(total) @ reach) + TINY * (1.0 + reach.sum())
        self.rows[node] = total

    def _add_each(self, rows: Array, lower: Array, upper: Array) -> None:
        """The same as `_offsets` with ends `(B, k)` of their own for every row."""
        ends = np.where(rows > 0.0, lower, upper)
        met = (rows != 0.0) & ~np.isfinite(ends)
        self.lost = np.where(met.any(axis=1), np.inf, self.lost)
        terms = np.where((rows == 0.0) | met, 0.0, rows * np.where(met, 0.0, ends))
        self._add(terms.sum(axis=1), share(rows.shape[1] + 4) * np.abs(terms).sum(axis=1) + rows.shape[1] * TINY)

    def _offsets(self, rows: Array, lower: Array, upper: Array) -> None:
        """The least of rows times anything between both ends; infinite ends that are met prove nothing."""
        low, high = (np.where(np.isfinite(end), end, 0.0) for end in (lower, upper))
        met = ((rows > 0.0) & ~np.isfinite(lower)) | ((rows < 0.0) & ~np.isfinite(upper))
        self.lost = np.where(met.any(axis=1), np.inf, self.lost)
        above, below = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
        size = above @ np.abs(low) - below @ np.abs(high)
        self._add(above @ low + below @ high, share(rows.shape[1] + 4) * size)

    def _add(self, number: Array, lost: Array) -> None:
        self.constant = self.constant + number
        self.lost = self.lost + lost + 2.0 * UNIT * np.abs(self.constant) + TINY


def ancestors(nodes: Sequence[Node], node: Node) -> list[Node]:
    """The node and all that its value depends on, in topological order."""
    needed = {node}
    for one in reversed(nodes):
        if one in needed:
            needed.update(one.sources)
    return [one for one in nodes if one in needed]
