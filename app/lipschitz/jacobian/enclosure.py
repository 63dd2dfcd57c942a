"""Enclosures of every entry of the Jacobian on a domain, one output row after another.

The row moves through the network read backwards: first by interval arithmetic, then what is open there is bounded by
linear bounds of that network, those of its values in between whose sign matters included. Both meet entry by entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..bounds.backward import Backward
from ..bounds.entries import Entries
from ..bounds.linear import MOST_WORK, Narrowing
from ..bounds.lines import Fan, Lines
from ..deadline import Deadline
from ..domain import Box
from ..network.intervals import Interval, enclose
from ..network.nodes import Activation, Affine, Network, Node
from ..network.propagation import of_domain
from ..operators.composite import work
from ..operators.rounding import TINY, UNIT, up_add, widened
from .backward_network import read_backwards
from .factor import Factor
from .signs import Signs, signs

BETWEEN = 0.5
"""Part of a row's time for what comes before its output."""


def by_intervals(network: Network, ranges: Mapping[Node, Interval], deadline: Deadline) -> Entries:
    """By interval arithmetic alone; OutOfTime where the rows take too long."""
    backwards = read_backwards(network, ranges)
    deadline.begin(2.0 * network.output.size * row_work(backwards))
    rows = []
    for row in range(network.output.size):
        deadline.check()
        rows.append(moved_back(backwards, _unit(row, backwards))[backwards.output])
    return _stacked(rows)


def by_lines(network: Network, ranges: Mapping[Node, Interval], known: Entries, deadline: Deadline) -> Entries:
    """Rows narrowed by linear bounds as long as there is time; those after have their intervals."""
    backwards = read_backwards(network, ranges)
    rows, sums = [], known.lower.new_full((network.output.size,), torch.inf)
    for row in range(network.output.size):
        if deadline.passed or bool((known.lower[row] == known.upper[row]).all()):
            rows.append(Interval(known.lower[row], known.upper[row]))
            continue
        domain = _unit(row, backwards)
        mine = deadline.share(1.0 / (network.output.size - row))
        narrowing = _Rows(backwards, domain, mine)
        rows.append(narrowing.run()[backwards.output])
        sums[row] = narrowing.sum_of_magnitudes()
    return replace(_stacked(rows), sums=sums).met(known)


def moved_back(backwards: Network, domain: Box) -> dict[Node, Interval]:
    """The interval of every node, what its signs forbid left out."""
    start = backwards.input
    intervals = {start: of_domain(domain, start.size)}
    known = {start: Signs.of(intervals[start])}
    for node in backwards.nodes[1:]:
        again = enclose(node, *(intervals[source] for source in node.sources))
        known[node] = signs(node, again, *(known[source] for source in node.sources))
        intervals[node] = known[node].cut(again)
    return intervals


def row_work(backwards: Network) -> float:
    """Multiplications of one row by interval arithmetic."""
    affine = [node for node in backwards.nodes if isinstance(node, Affine)]
    products = [work(term.operator) for node in affine for term in node.terms]
    return 2.0 * sum(products) + 8.0 * sum(node.size for node in backwards.nodes)


class _Rows(Narrowing):
    """Linear bounds of the network read backwards: what is open is a sign, and every entry of its output."""

    def __init__(self, network: Network, domain: Box, deadline: Deadline) -> None:
        super().__init__(network, domain, moved_back(network, domain), deadline.share(BETWEEN))
        self._end = deadline

    def sum_of_magnitudes(self) -> float:
        """At least that of the row, for all of its values at once: |g| <= k g + c on [l, u] with the chord's slope k.

        What cancels between the entries of one row is lost where each is bounded apart (GradNorm: Shi et al. 2022).
        Infinite where there was no time for lines.
        """
        own, order = self._ranges[self._network.output], self._ancestors(self._network.output)
        is_drawn = all(node in self._lines for node in order if isinstance(node, Activation))
        if not is_drawn or not bool(torch.isfinite(own.magnitude).all()):
            return math.inf
        chord = (own.upper.abs() - own.lower.abs()) / (own.upper - own.lower)
        slope = torch.where(own.lower >= 0.0, 1.0, torch.where(own.upper <= 0.0, -1.0, chord.clamp(-1.0, 1.0)))
        offset = torch.maximum(own.upper.abs() - slope * own.upper, own.lower.abs() - slope * own.lower)
        offset = (offset + 4.0 * UNIT * own.magnitude + TINY).sum()
        backward = Backward(self._domain, self._ranges, self._lines, self._selections)
        least = float(backward.least(self._network.output, -slope[None], order))
        return up_add(-least, widened(float(offset), own.magnitude.numel()))

    def _narrow(self, node: Node) -> None:
        if node is self._network.output:
            self._deadline, self._left = self._end, MOST_WORK
        super()._narrow(node)

    def _open(self, node: Node) -> Tensor:
        own = self._ranges[node]
        if node is self._network.output:
            return own.varying
        positions = torch.zeros_like(own.varying)
        for reader in self._readers[node]:
            if isinstance(reader, Activation):
                assert isinstance(reader.scalar, Factor)
                positions |= reader.scalar.is_open(own.lower, own.upper)
            elif not isinstance(reader, Affine):
                positions |= own.varying
        return positions

    def _fans_of(self, order: Sequence[Node]) -> dict[Activation, Fan]:  # noqa: ARG002 - no line of a product is better
        return {}

    def _around(self, node: Activation, source: Interval) -> Lines:
        assert isinstance(node.scalar, Factor)
        return node.scalar.lines(source.lower, source.upper)


def _unit(row: int, backwards: Network) -> Box:
    """The row's own unit vector, and nothing else."""
    point = torch.zeros(backwards.input.size, dtype=torch.float64)
    point[row] = 1.0
    return Box(point, point)


def _stacked(rows: Sequence[Interval]) -> Entries:
    return Entries(torch.stack([row.lower for row in rows]), torch.stack([row.upper for row in rows]))
