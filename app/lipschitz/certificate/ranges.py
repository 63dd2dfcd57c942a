"""What proves a local bound's ranges: ends that interval arithmetic does not give, and the lines that prove them.

The check goes through the nodes in topological order. A node's range follows from its sources' by interval arithmetic
(the typed network's own, which a certificate of an older format has alone); where the certificate states narrower ends,
each is proved by `backward` on the ranges before it, with lines of the slopes that the certificate states. All slopes,
weights and norms of the pieces are then those of the ranges that were proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..bounds.local import Local
from ..domain import WholeSpace
from ..network.intervals import Interval, enclose
from ..network.nodes import Activation, Affine, Concat, Node, Nonlinear
from ..network.propagation import propagate
from ..problem import Problem
from .backward import Chosen, Facts, Positions, ancestors
from .balls import Array
from .fields import InvalidCertificate
from .lines import offsets, offsets_of_slope
from .matrices import TooLarge, array
from .record import ChoiceRecord, LineRecord, RangeRecord

CHUNK = 2**22
"""Entries of one matrix of rows."""
MOST_ENTRIES = 2**25
"""Of all matrices."""
MOST_WORK = 4e11


Slopes = Mapping[Activation, tuple[Positions, Array]]
NO_SLOPES: Slopes = {}
LINES = 32
"""Numbers that prove one line."""


class Proving:
    """The ranges proved so far, node after node."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.nodes = problem, problem.network.nodes
        self.plain = propagate(problem.network, problem.domain)
        self.facts, self.ranges = Facts(problem.domain), dict[Node, Interval]()

    def __iter__(self) -> Iterator[tuple[int, Node]]:
        """Every node with its position, once its range is known by interval arithmetic."""
        for position, node in enumerate(self.nodes):
            own = self.plain[node]
            if node.sources:
                again = enclose(node, *(self.ranges[source] for source in node.sources))
                own = replace(
                    own, lower=torch.maximum(own.lower, again.lower), upper=torch.minimum(own.upper, again.upper)
                )
            self.set(node, own)
            yield position, node

    def set(self, node: Node, own: Interval) -> None:
        self.ranges[node] = own
        self.facts.ranges[node] = array(own.lower), array(own.upper)

    def draw(self, node: Activation, below: Array, above: Array) -> None:
        """Lines of these slopes around an activation; a constant where they have no finite offset."""
        under, over = offsets(node.scalar, *self.facts.ranges[node.source], below, above)
        least, most = self.facts.ranges[node]
        low, high = np.isfinite(under), np.isfinite(over)
        self.facts.lines[node] = (
            np.where(low, below, 0.0), np.where(low, under, least),
            np.where(high, above, 0.0), np.where(high, over, most),
        )  # fmt: skip

    def proved(self, node: Node, positions: Positions, slopes: Slopes = NO_SLOPES) -> tuple[Array, Array, Array]:
        """Lower and upper ends of some entries, `(k,)` each, and the rounding that they allow for.

        `slopes` of lines of their own, `(2 k, n)` for neurons `(n,)` by activation: of lower ends, then of upper ones.
        """
        order, parts = ancestors(self.nodes, node), []
        widest = max([one.size for one in order] + [LINES * len(neurons) for neurons, _ in slopes.values()])
        count = max(1, CHUNK // (2 * widest))
        for first in range(0, len(positions), count):
            self.problem.deadline.check()
            some = positions[first : first + count]
            rows = np.zeros((2 * len(some), node.size))
            rows[np.arange(len(some)), some] = 1.0
            rows[len(some) + np.arange(len(some)), some] = -1.0
            both = np.concatenate([np.arange(len(positions))[first : first + count] + k for k in (0, len(positions))])
            own = {one: self._chosen(one, neurons, rows_[both]) for one, (neurons, rows_) in slopes.items()}
            ends, lost = self.facts.least(node, rows, order, own)
            parts.append((ends[: len(some)], -ends[len(some) :], np.maximum(lost[: len(some)], lost[len(some) :])))
        low, high, lost = (np.concatenate(part) for part in zip(*parts, strict=True))
        return low, high, lost

    def _chosen(self, node: Activation, neurons: Positions, slopes: Array) -> Chosen:
        """Lines of these slopes, `(B, n)`, with the offsets that the range of the activation's argument allows."""
        return neurons, slopes, *offsets_of_slope(node.scalar, *self.facts.ranges[node.source], neurons, slopes)

    def narrow(self, node: Node, positions: Positions, lower: Array, upper: Array) -> None:
        """Cuts entries of a node's range down to proved ends."""
        own = self.ranges[node]
        at, low, high = (torch.from_numpy(each).to(own.lower.device) for each in (positions, lower, upper))
        least, most = own.lower.clone(), own.upper.clone()
        least[at] = torch.maximum(least[at], low)
        most[at] = torch.minimum(most[at], high)
        self.set(node, replace(own, lower=least, upper=most))


def with_ranges(
    problem: Problem,
    ranges: Sequence[RangeRecord],
    lines: Sequence[LineRecord],
    choices: Sequence[ChoiceRecord] = (),
) -> Problem:
    """The problem with the ranges that the records prove; InvalidCertificate where they do not."""
    given, drawn = _by_node([*ranges, *choices]), {one.node: one for one in lines}
    if len(_by_node(ranges)) < len(ranges) or len(_by_node(choices)) < len(choices) or len(drawn) < len(lines):
        raise InvalidCertificate("two records of ranges or lines are of one node")
    if any(not 0 < one < len(problem.network.nodes) for one in given) or (lines and not given):
        raise InvalidCertificate("ranges or lines belong to no node")
    if isinstance(problem.domain, WholeSpace):
        if given:
            raise InvalidCertificate("on the whole space there are no ranges to prove")
        return problem
    proving = Proving(problem)
    try:
        with np.errstate(all="ignore"):
            if given:
                _check_all(proving, given, drawn)
            else:
                for _ in proving:
                    pass  # interval arithmetic takes little time, and there is a certificate whatever the time
    except TooLarge as reason:
        raise InvalidCertificate(f"the ranges are too large to be checked: {reason}") from reason
    return within(problem, proving)


def _by_node(records: Sequence[RangeRecord]) -> dict[int, list[RangeRecord]]:
    """In the order in which they are to be proved."""
    given: dict[int, list[RangeRecord]] = {}
    for record in records:
        given.setdefault(record.node, []).append(record)
    return given


def _check_all(proving: Proving, given: Mapping[int, list[RangeRecord]], drawn: dict[int, LineRecord]) -> None:
    asked = {proving.nodes[position]: sum(len(one.positions) for one in own) for position, own in given.items()}
    check_size(proving, asked)
    for position, node in proving:
        if isinstance(node, Activation):
            record = drawn.pop(position, None)
            zeros = np.zeros(node.size)
            slopes = (zeros, zeros) if record is None else (np.array(record.below), np.array(record.above))
            if any(len(one) != node.size for one in slopes):
                raise InvalidCertificate(f"the activation at node {position} has {node.size} neurons")
            proving.draw(node, *slopes)
        elif isinstance(node, Nonlinear):
            proving.facts.choose(node)
        for stated in given.get(position, []):
            _check(proving, node, stated)
    if drawn:
        raise InvalidCertificate(f"there is no activation at node {min(drawn)}")


def _check(proving: Proving, node: Node, record: RangeRecord) -> None:
    positions = np.array(record.positions, dtype=np.intp)
    lower, upper = np.array(record.lower), np.array(record.upper)
    if not len(positions) == len(lower) == len(upper) or len(set(record.positions)) < len(positions):
        raise InvalidCertificate(f"the ranges at node {record.node} are not one each")
    if len(positions) and int(positions.max()) >= node.size:
        raise InvalidCertificate(f"node {record.node} has {node.size} entries")
    if not len(positions):
        return
    slopes = _slopes(proving, record) if isinstance(record, ChoiceRecord) else NO_SLOPES
    least, most, _ = proving.proved(node, positions, slopes)
    own = proving.ranges[node]
    least, most = np.maximum(least, array(own.lower)[positions]), np.minimum(most, array(own.upper)[positions])
    if not bool(((lower <= least) & (most <= upper)).all()):
        raise InvalidCertificate(f"the lines do not prove the ranges at node {record.node}")
    proving.narrow(node, positions, lower, upper)


def _slopes(proving: Proving, record: ChoiceRecord) -> Slopes:
    """Those that a record states."""
    given = {}
    for one in record.slopes:
        neurons = np.array(one.positions, dtype=np.intp)
        node = proving.nodes[one.node] if one.node < record.node else None
        if not isinstance(node, Activation) or node in given or (neurons >= node.size).any():
            raise InvalidCertificate(f"slopes of the ranges at node {record.node} belong to no activation before it")
        if len(set(one.positions)) < len(neurons) or len(one.slopes) != 2 * len(record.positions) * len(neurons):
            raise InvalidCertificate(f"the slopes of the ranges at node {record.node} are not one each")
        given[node] = neurons, np.array(one.slopes).reshape(-1, len(neurons))
    return given


def within(problem: Problem, proving: Proving) -> Problem:
    """The same problem on the ranges that are proved."""
    twin = replace(problem)
    twin.__dict__["local"] = Local(problem.network, problem.domain, problem.deadline, given=proving.ranges)
    return twin


def check_size(proving: Proving, asked: Mapping[Node, int]) -> float:
    """Multiplications of so many entries' proofs; TooLarge where they, or the matrices, are more than is reasonable."""
    entries, work = 0.0, 0.0
    for node in proving.nodes:
        if isinstance(node, Affine | Concat):
            entries += sum(float(term.operator.in_size * term.operator.out_size) for term in node.terms)
        work += 2.0 * entries * asked.get(node, 0)
    if entries > MOST_ENTRIES or not work <= MOST_WORK:
        raise TooLarge(f"matrices of {entries:.3g} entries and {work:.3g} multiplications")
    return work
