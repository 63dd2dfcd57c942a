"""The range of every node on a bounded domain: interval arithmetic, narrowed by linear bounds where it leaves one open.

Nodes are taken in topological order. A node's interval follows from its sources' narrowed ones; what a nonlinear node
reads is then bounded once more by linear bounds found backward, entries that are settled already left out. So no range
is ever wider than interval arithmetic gives. The work is planned in multiplications and done in chunks: what the time
does not suffice for keeps its interval.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from ..domain import Ball, Domain, WholeSpace
from ..network.intervals import Interval, enclose, quotients
from ..network.nodes import Activation, Affine, Change, Concat, Network, Node, Nonlinear
from ..network.propagation import propagate
from ..operators.composite import work
from ..operators.convolution import Convolution
from ..operators.dense import Dense
from .backward import Backward, signed_rows
from .extremes import Selection
from .lines import Fan, Lines, lines
from .optimised import Choice, Choosing, closest

SHARE = 0.15
"""Of the time that is left."""
MOST_WORK, LINES = 1e12, 1e4
"""Multiplications in all, and those that the lines of one neuron are worth."""
STEPS, TIMES = 8, 4.0
"""Of the search for closer lines, and what one costs in plain passes."""
WORTH = 1e-6
"""Least part of a range's width that lines of its own must take off."""
CHOICES, MOST_KEPT = 2**20, 2**17
"""Lines of open neurons that are chosen at once, and numbers of lines that are kept, for certificates."""
CHUNK_WORK, CHUNK_ENTRIES = 4e9, 2**23
"""Multiplications between two looks at the clock, and entries of one matrix of rows."""


def ranges(network: Network, domain: Domain, deadline: Deadline = NEVER) -> dict[Node, Interval]:
    """The interval of every node for inputs in the domain."""
    return ranges_with_choices(network, domain, deadline)[0]


def ranges_with_choices(
    network: Network, domain: Domain, deadline: Deadline = NEVER
) -> tuple[dict[Node, Interval], dict[Node, Choice]]:
    """The same with the lines that were chosen for some nodes' ends, as far as they were kept."""
    plain = propagate(network, domain)
    if isinstance(domain, WholeSpace):
        return plain, {}
    with torch.no_grad():
        first = Narrowing(network, domain, plain, deadline.share(SHARE))
        known = first.run()
        if not first.may_choose:
            return known, {}
        again = Narrowing(network, domain, plain, deadline.share(SHARE), before=known)
        return again.run(), again.choices


class Narrowing:
    """One pass over the nodes, with what is known so far."""

    def __init__(
        self,
        network: Network,
        domain: Domain,
        plain: Mapping[Node, Interval],
        deadline: Deadline,
        *,
        wanted: Collection[Node] = (),
        before: Mapping[Node, Interval] | None = None,
    ) -> None:
        """`wanted` nodes are bounded whoever reads them.

        `before` are the ranges of a first pass: the second one chooses lines, and what it has no time for keeps those.
        """
        self._wanted, self._before = wanted, before
        self.may_choose = False
        self._network, self._domain, self._plain, self._deadline = network, domain, plain, deadline
        self._ranges: dict[Node, Interval] = {network.input: plain[network.input]}
        self._lines: dict[Activation, Lines] = {}
        self._fans: dict[Activation, Fan] = {}
        self.choices: dict[Node, Choice] = {}
        self._selections: dict[Nonlinear, Selection] = {}
        self._kept, self._left = 0, MOST_WORK
        self._work = {node: _work(node) for node in network.nodes}
        self._readers: dict[Node, list[Node]] = {node: [] for node in network.nodes}
        for node in network.nodes:
            for source in node.sources:
                self._readers[source].append(node)

    def run(self) -> dict[Node, Interval]:
        for node in self._network.nodes[1:]:
            again = enclose(node, *(self._ranges[source] for source in node.sources))
            self._ranges[node] = _meet(self._plain[node], again.lower, again.upper)
            selects = isinstance(node, Nonlinear) and node.extreme
            if not (isinstance(node, Activation) or selects or self._is_exact(node)):
                self._narrow(node)
            if self._before is not None and self._left < 0.0:
                self._ranges[node] = _meet(self._ranges[node], self._before[node].lower, self._before[node].upper)
        return self._ranges

    def _is_exact(self, node: Node) -> bool:
        """Interval arithmetic is as good for a single layer on the domain."""
        if not isinstance(node, Affine) or len(node.terms) > 1 or node.terms[0].source is not self._network.input:
            return False
        operator, domain = node.terms[0].operator, self._domain
        by_signs = not isinstance(domain, Ball) or domain.p in ("2", "inf")
        return isinstance(operator, Dense) or (isinstance(operator, Convolution) and by_signs)

    def _open(self, node: Node) -> Tensor:
        """Entries, `(n,)`, about which a reader would like to know more."""
        own = self._ranges[node]
        positions = own.varying if node in self._wanted else torch.zeros_like(own.varying)
        for reader in self._readers[node]:
            if isinstance(reader, Change):
                positions = positions | self._open_change(reader, node)
            elif isinstance(reader, Activation):
                least, most = reader.scalar.slopes(own.lower, own.upper)
                positions = positions | (own.varying & (least < most))
            elif not isinstance(reader, Affine | Concat):
                positions = positions | own.varying
        return positions

    def _open_change(self, reader: Change, node: Node) -> Tensor:
        """Entries of the change of arguments by which the function's change is not settled; none of other sources."""
        own = self._ranges[node]
        if node is not reader.change or not isinstance(reader.left, Activation):
            return own.varying if node is reader.change else torch.zeros_like(own.varying)
        least, most = quotients(reader, self._ranges[reader.left.source], self._ranges[reader.right.source])
        return own.varying & (least < most)

    def _narrow(self, node: Node) -> None:
        """Both ends of the open entries, a chunk at a time as long as there is time."""
        (positions,) = self._open(node).nonzero(as_tuple=True)
        if not len(positions) or self._left < 0.0:
            return
        order = self._ancestors(node)
        each = 2.0 * sum(self._work[one] for one in order)
        count = max(1, int(min(CHUNK_ENTRIES / max(one.size for one in order), CHUNK_WORK / each) / 2))
        if not self._may_spend(each * min(count, len(positions)) + self._relax(order, only_cost=True)):
            return
        self._relax(order)
        lower, upper = self._ranges[node].lower.clone(), self._ranges[node].upper.clone()
        for chunk in positions.split(count):
            if not self._may_spend(each * len(chunk)):
                break
            self._left -= each * len(chunk)
            low, high = self._both(node, chunk, order)
            lower[chunk], upper[chunk] = torch.maximum(lower[chunk], low), torch.minimum(upper[chunk], high)
        self._ranges[node] = Interval(lower, upper, self._ranges[node].ball)
        self._optimise(node, order, each)

    def _optimise(self, node: Node, order: list[Node], each: float) -> None:
        """Once more with lines of their own for entries that are open still, a chunk at a time while there is time."""
        (positions,) = self._open(node).nonzero(as_tuple=True)
        fans = self._fans_of(order) if STEPS and len(positions) else {}
        choices = sum(len(fan.positions) for fan in fans.values())
        self.may_choose = self.may_choose or choices > 0
        if not choices or self._before is None:
            return
        entries = min(CHOICES / choices, CHUNK_ENTRIES / max(one.size for one in order), CHUNK_WORK / each)
        parts = []
        lower, upper = self._ranges[node].lower.clone(), self._ranges[node].upper.clone()
        for chunk in positions.split(max(1, int(entries / 2))):
            cost = TIMES * STEPS * each * len(chunk)
            if self._left < cost or not self._deadline.fits(cost):
                break
            self._left -= cost
            choosing = Choosing(self._domain, self._ranges, self._lines, self._selections, fans=fans)
            least, slopes = closest(choosing, node, signed_rows(node, chunk), order, STEPS)
            low, high = least[: len(chunk)], -least[len(chunk) :]
            gain = WORTH * (upper[chunk] - lower[chunk])
            (better,) = ((low > lower[chunk] + gain) | (high < upper[chunk] - gain)).nonzero(as_tuple=True)
            at, rows = chunk[better], torch.cat([better, better + len(chunk)])
            lower[at], upper[at] = torch.maximum(lower[at], low[better]), torch.minimum(upper[at], high[better])
            parts.append(Choice(at, {one: (fans[one].positions, own[rows]) for one, own in slopes.items()}))
        self._ranges[node] = Interval(lower, upper, self._ranges[node].ball)
        count = sum(part.count for part in parts)
        if count and self._kept + count <= MOST_KEPT:
            self.choices[node] = Choice.joined(parts)
            self._kept += count

    def _fans_of(self, order: Sequence[Node]) -> dict[Activation, Fan]:
        """Lines to choose from, where there is any choice."""
        fans = {one: self._fan(one) for one in order[:-1] if isinstance(one, Activation)}
        return {one: fan for one, fan in fans.items() if len(fan.positions)}

    def _fan(self, node: Activation) -> Fan:
        if node not in self._fans:
            source = self._ranges[node.source]
            self._fans[node] = Fan.of(node.scalar, source.lower, source.upper, self._lines[node])
        return self._fans[node]

    def _may_spend(self, work: float) -> bool:
        """Whether so many multiplications fit; once some do not, no more are tried."""
        if self._left < work or not self._deadline.fits(work):
            self._left = -1.0
        return self._left >= 0.0

    def _relax(self, order: Sequence[Node], *, only_cost: bool = False) -> float:
        """Lines around the activations among these nodes, and winners of maxima, that are not there yet; their work."""
        cost = 0.0
        for node in order[:-1]:
            if isinstance(node, Activation) and node not in self._lines:
                cost += LINES * node.size
                source = self._ranges[node.source]
                if not only_cost:
                    self._lines[node] = self._around(node, source)
            elif isinstance(node, Nonlinear) and node.extreme and node not in self._selections:
                source = self._ranges[node.source]
                if not only_cost and _is_finite(source):
                    self._selections[node] = Selection.of(node, source)
        return cost

    def _around(self, node: Activation, source: Interval) -> Lines:
        return lines(node.scalar, source.lower, source.upper)

    def _both(self, node: Node, chunk: Tensor, order: list[Node]) -> tuple[Tensor, Tensor]:
        least = Backward(self._domain, self._ranges, self._lines, self._selections).least(
            node, signed_rows(node, chunk), order
        )
        return least[: len(chunk)], -least[len(chunk) :]

    def _ancestors(self, node: Node) -> list[Node]:
        """The nodes that this one's value depends on, and it, in topological order."""
        needed = {node}
        for one in reversed(self._network.nodes):
            if one in needed:
                needed.update(one.sources)
        return [one for one in self._network.nodes if one in needed]


def _work(node: Node) -> float:
    operators: Sequence[float] = (
        [work(term.operator) for term in node.terms] if isinstance(node, Affine | Concat) else []
    )
    return 8.0 * node.size + sum(operators)


def _meet(known: Interval, lower: Tensor, upper: Tensor) -> Interval:
    return Interval(torch.maximum(known.lower, lower), torch.minimum(known.upper, upper), known.ball)


def _is_finite(known: Interval) -> bool:
    return bool((torch.isfinite(known.lower) & torch.isfinite(known.upper)).all())
