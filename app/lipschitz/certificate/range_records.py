"""From the ranges that a method used to the records that prove them, in the arithmetic of the check."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..bounds.lines import lines as chosen_lines
from ..bounds.optimised import Choice
from ..deadline import OutOfTime
from ..domain import WholeSpace
from ..network.intervals import Interval
from ..network.nodes import Activation, Affine, Concat, Node, Nonlinear
from ..problem import Problem
from .backward import Positions
from .matrices import TooLarge, array
from .ranges import NO_SLOPES, Proving, Slopes, check_size, with_ranges, within
from .record import ChoiceRecord, LineRecord, RangeRecord, SlopeRecord

SLACK = 3.0
"""Times the check's rounding, by which an end is claimed wider than it was proved."""
PART = 0.4
"""Of the time that is left, for proving ranges at the export."""

Proof = tuple[tuple[list[RangeRecord], list[LineRecord], list[ChoiceRecord]], Problem]


def range_records(problem: Problem) -> Proof:
    """Records of the problem's ranges as far as the check proves them, and the problem with just those ranges.

    None are stated, and interval arithmetic's are left, where the check is too large for the time or for its matrices.
    """
    if isinstance(problem.domain, WholeSpace):
        return ([], [], []), problem
    known = problem.local.intervals
    limited = problem.until(problem.deadline.share(PART))
    try:
        with np.errstate(all="ignore"):
            return _records(Proving(limited), known, problem)
    except (TooLarge, OutOfTime, MemoryError):
        return ([], [], []), with_ranges(problem, [], [])


def _records(proving: Proving, known: Mapping[Node, Interval], problem: Problem) -> Proof:
    ranges: list[RangeRecord] = []
    lines: list[LineRecord] = []
    choices: list[ChoiceRecord] = []
    asked = {node: len(_narrower(own, known[node])) for node, own in proving.plain.items()}
    proving.problem.deadline.begin(2.0 * check_size(proving, asked))
    for position, node in proving:
        if isinstance(node, Activation):
            source = proving.ranges[node.source]
            drawn = chosen_lines(node.scalar, source.lower, source.upper)
            below, above = (array(line[0].expand(node.size)) for line in (drawn.lower, drawn.upper))
            proving.draw(node, below, above)
            lines.append(LineRecord(position, below.tolist(), above.tolist()))
        elif isinstance(node, Nonlinear):
            proving.facts.choose(node)
        if isinstance(node, Affine | Concat):
            choice = problem.local.choices.get(node)
            chosen = np.zeros(0, dtype=np.intp) if choice is None else choice.positions.cpu().numpy()
            narrower = np.setdiff1d(_narrower(proving.ranges[node], known[node]), chosen)
            ranges += _claimed(proving, position, narrower)
            if choice is not None:
                choices += _chosen(proving, position, choice)
    last = max((record.node for record in (*ranges, *choices)), default=0)
    return (ranges, [line for line in lines if line.node < last], choices), within(problem, proving)


def _chosen(proving: Proving, position: int, choice: Choice) -> list[ChoiceRecord]:
    """A record of the ends that have lines of their own."""
    slopes = {node: (array(neurons).astype(np.intp), array(rows)) for node, (neurons, rows) in choice.slopes.items()}
    claimed = _claimed(proving, position, choice.positions.cpu().numpy(), slopes)
    places = {node: place for place, node in enumerate(proving.nodes)}
    records = [SlopeRecord(places[node], at.tolist(), rows.flatten().tolist()) for node, (at, rows) in slopes.items()]
    return [ChoiceRecord(**vars(one), slopes=records) for one in claimed]


def _claimed(proving: Proving, position: int, narrower: Positions, slopes: Slopes = NO_SLOPES) -> list[RangeRecord]:
    """A record of the ends of some entries, as narrow as the check proves them; none of no entries."""
    if not len(narrower):
        return []
    node = proving.nodes[position]
    low, high, lost = proving.proved(node, narrower, slopes)
    own = proving.ranges[node]
    low, high = low - SLACK * lost, high + SLACK * lost
    low = np.maximum(low, array(own.lower)[narrower])
    high = np.minimum(high, array(own.upper)[narrower])
    good = np.isfinite(low) & np.isfinite(high)
    if not slopes:
        narrower, low, high = narrower[good], low[good], high[good]
    elif not good.all():
        return []
    proving.narrow(node, narrower, low, high)
    return [RangeRecord(position, narrower.tolist(), low.tolist(), high.tolist())]


def _narrower(plain: Interval, known: Interval) -> Positions:
    """Entries that linear bounds made narrower than interval arithmetic does."""
    gain = 1e-9 * (plain.upper - plain.lower)
    better = (known.lower > plain.lower + gain) | (known.upper < plain.upper - gain)
    return np.flatnonzero(array(better))
