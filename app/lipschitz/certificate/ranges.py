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
from numpy.typing import NDArray

from app.lipschitz.bounds.lines import lines as chosen_lines
from app.lipschitz.bounds.local import Local
from app.lipschitz.certificate.backward import Facts, ancestors
from app.lipschitz.certificate.balls import Array
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.lines import offsets
from app.lipschitz.certificate.matrices import TooLarge, array
from app.lipschitz.certificate.record import LineRecord, RangeRecord
from app.lipschitz.deadline import OutOfTime
from app.lipschitz.domain import WholeSpace
from app.lipschitz.network.intervals import Interval, enclose
from app.lipschitz.network.nodes import Activation, Affine, Concat, Node, Nonlinear
from app.lipschitz.network.propagation import propagate
from app.lipschitz.problem import Problem

CHUNK = 2**22
"""Entries of one matrix of rows."""
MOST_ENTRIES = 2**25
"""Of all matrices."""
MOST_WORK = 4e11
SLACK = 3.0
"""Times the check's rounding, by which an end is claimed wider than it was proved."""
PART = 0.4
"""Of the time that is left, for proving ranges at the export."""

Positions = NDArray[np.intp]


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
        """The node's range."""
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

    def proved(self, node: Node, positions: Positions) -> tuple[Array, Array, Array]:
        """Lower and upper ends of some entries, `(k,)` each, and the rounding that they allow for."""
        order, parts = ancestors(self.nodes, node), []
        count = max(1, CHUNK // (2 * max(one.size for one in order)))
        for first in range(0, len(positions), count):
            self.problem.deadline.check()
            some = positions[first : first + count]
            rows = np.zeros((2 * len(some), node.size))
            rows[np.arange(len(some)), some] = 1.0
            rows[len(some) + np.arange(len(some)), some] = -1.0
            ends, lost = self.facts.least(node, rows, order)
            parts.append((ends[: len(some)], -ends[len(some) :], np.maximum(lost[: len(some)], lost[len(some) :])))
        low, high, lost = (np.concatenate(part) for part in zip(*parts, strict=True))
        return low, high, lost

    def narrow(self, node: Node, positions: Positions, lower: Array, upper: Array) -> None:
        """Cuts entries of a node's range down to proved ends."""
        own = self.ranges[node]
        at, low, high = (torch.from_numpy(each).to(own.lower.device) for each in (positions, lower, upper))
        least, most = own.lower.clone(), own.upper.clone()
        least[at] = torch.maximum(least[at], low)
        most[at] = torch.minimum(most[at], high)
        self.set(node, replace(own, lower=least, upper=most))


def with_ranges(problem: Problem, ranges: Sequence[RangeRecord], lines: Sequence[LineRecord]) -> Problem:
    """The problem with the ranges that the records prove; InvalidCertificate where they do not."""
    given, drawn = {one.node: one for one in ranges}, {one.node: one for one in lines}
    if len(given) < len(ranges) or len(drawn) < len(lines):
        raise InvalidCertificate("two records of ranges or lines are of one node")
    if any(not 0 < one < len(problem.network.nodes) for one in given) or (lines and not ranges):
        raise InvalidCertificate("ranges or lines belong to no node")
    if isinstance(problem.domain, WholeSpace):
        if ranges:
            raise InvalidCertificate("on the whole space there are no ranges to prove")
        return problem
    proving = Proving(problem)
    try:
        with np.errstate(all="ignore"):
            if ranges:
                _check_all(proving, given, drawn)
            else:
                for _ in proving:
                    pass  # interval arithmetic takes little time, and there is a certificate whatever the time
    except TooLarge as reason:
        raise InvalidCertificate(f"the ranges are too large to be checked: {reason}") from reason
    return _within(problem, proving)


def _check_all(proving: Proving, given: Mapping[int, RangeRecord], drawn: dict[int, LineRecord]) -> None:
    _check_size(proving, {proving.nodes[position]: len(record.positions) for position, record in given.items()})
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
        if position in given:
            _check(proving, node, given[position])
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
    least, most, _ = proving.proved(node, positions)
    own = proving.ranges[node]
    least, most = np.maximum(least, array(own.lower)[positions]), np.minimum(most, array(own.upper)[positions])
    if not bool(((lower <= least) & (most <= upper)).all()):
        raise InvalidCertificate(f"the lines do not prove the ranges at node {record.node}")
    proving.narrow(node, positions, lower, upper)


def _within(problem: Problem, proving: Proving) -> Problem:
    """The same problem on the ranges that are proved."""
    twin = replace(problem)
    twin.__dict__["local"] = Local(problem.network, problem.domain, problem.deadline, given=proving.ranges)
    return twin


Proof = tuple[list[RangeRecord], list[LineRecord], Problem]


def range_records(problem: Problem) -> Proof:
    """Records of the problem's ranges as far as the check proves them, and the problem with just those ranges.

    None are stated, and interval arithmetic's are left, where the check is too large for the time or for its matrices.
    """
    if isinstance(problem.domain, WholeSpace):
        return [], [], problem
    known = problem.local.intervals
    limited = problem.until(problem.deadline.share(PART))
    try:
        with np.errstate(all="ignore"):
            return _records(Proving(limited), known, problem)
    except (TooLarge, OutOfTime, MemoryError):
        return [], [], with_ranges(problem, [], [])


def _records(proving: Proving, known: Mapping[Node, Interval], problem: Problem) -> Proof:
    ranges: list[RangeRecord] = []
    lines: list[LineRecord] = []
    asked = {node: len(_narrower(own, known[node])) for node, own in proving.plain.items()}
    proving.problem.deadline.begin(2.0 * _check_size(proving, asked))
    for position, node in proving:
        if isinstance(node, Activation):
            source = proving.ranges[node.source]
            drawn = chosen_lines(node.scalar, source.lower, source.upper)
            below, above = (array(line[0].expand(node.size)) for line in (drawn.lower, drawn.upper))
            proving.draw(node, below, above)
            lines.append(LineRecord(position, below.tolist(), above.tolist()))
        elif isinstance(node, Nonlinear):
            proving.facts.choose(node)
        narrower = _narrower(proving.ranges[node], known[node])
        if isinstance(node, Affine | Concat) and len(narrower):
            low, high, lost = proving.proved(node, narrower)
            own = proving.ranges[node]
            low, high = low - SLACK * lost, high + SLACK * lost
            low = np.maximum(low, array(own.lower)[narrower])
            high = np.minimum(high, array(own.upper)[narrower])
            good = np.isfinite(low) & np.isfinite(high)
            positions, low, high = narrower[good], low[good], high[good]
            proving.narrow(node, positions, low, high)
            ranges.append(RangeRecord(position, positions.tolist(), low.tolist(), high.tolist()))
    last = max((record.node for record in ranges), default=0)
    return ranges, [line for line in lines if line.node < last], _within(problem, proving)


def _narrower(plain: Interval, known: Interval) -> Positions:
    """Entries that linear bounds made narrower than interval arithmetic does."""
    gain = 1e-9 * (plain.upper - plain.lower)
    better = (known.lower > plain.lower + gain) | (known.upper < plain.upper - gain)
    return np.flatnonzero(array(better))


def _check_size(proving: Proving, asked: Mapping[Node, int]) -> float:
    """Multiplications of so many entries' proofs; TooLarge where they, or the matrices, are more than is reasonable."""
    entries, work = 0.0, 0.0
    for node in proving.nodes:
        if isinstance(node, Affine | Concat):
            entries += sum(float(term.operator.in_size * term.operator.out_size) for term in node.terms)
        work += 2.0 * entries * asked.get(node, 0)
    if entries > MOST_ENTRIES or not work <= MOST_WORK:
        raise TooLarge(f"matrices of {entries:.3g} entries and {work:.3g} multiplications")
    return work
