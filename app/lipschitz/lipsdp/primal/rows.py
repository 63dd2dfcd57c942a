"""LipSDP beyond the 2-norm: a program a row of the Jacobian, or one for all, with a weight for every input, proved.

The multipliers of one row are feasible for all others, and one factorisation tells what they give for each. So the
row with the largest bound so far is solved for next, until that is no more than what a row is known to attain. Where
there are many rows, the multipliers of all of them together, from inf to 2, come first, and what is solved for one by
one counts in the mean of all: K is linear in the multipliers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ...certificate.balls import Array
from ...certificate.matrices import TooLarge
from ...certificate.rows import Reading
from ...certificate.sparse import planned
from ...claims import Program, RowsClaim
from ...deadline import Deadline, Laps
from ...network.nodes import Node
from ...operators.norm import Norm
from ...operators.rounding import up_sqrt
from ...problem import Problem
from ...walk.claims import walk_claim
from ...walk.pieces import Piece
from ..semidefinite import Bound
from .bound import CLIMBING, MODERATE, PROOFS, Parts, climb, on_device, parts_of_piece
from .iteration import Ascent, Programs
from .multipliers import RAISES, Point, Search, times
from .passes import Passes

GAP = 1e-6
"""Gain of ten rounds that ends an ascent."""
CLOSE = 3e-4
"""Relative distance of the bound to what a row attains that is good enough."""
MOST_ROWS, MANY_ROWS = 16, 64
"""Programs solved for at once; rows beyond which the mean of their multipliers counts."""
STALLED, PATIENCE = 0.99, 4
"""Many rows end where so many batches leave more than this share of the bound."""
EXPENSIVE = 5e9
"""Work of an elimination from which on all rows are bounded together first, few as they may be."""
NUMBERS = 2**22
"""Of the trajectories of one batch."""
LEAST_WEIGHT = 1e-6
"""Of an input, over the mean: none is exactly zero."""


@dataclass(eq=False)
class Rows:
    """The programs so far, their weights adding up to one, with `levels` `(p,)` each: the squares they prove."""

    reading: Reading
    points: list[Point] = field(default_factory=list)
    levels: list[Array] = field(default_factory=list)
    attained: float = 0.0
    guesses: list[Point] = field(default_factory=list)
    solved: set[int] = field(default_factory=set)
    passes: int = 0

    def squares(self, count: int) -> Array:
        """The least level of every row."""
        least: Array = np.min([np.full(count, np.inf), *self.levels], axis=0)
        return least

    def is_open(self, square: float) -> bool:
        """Whether a row with that bound may be the largest, and by more than need be."""
        return not square <= (self.attained * (1.0 + CLOSE)) ** 2


def rows_bound(problem: Problem, piece: Piece, constants: Mapping[Node, float], deadline: Deadline) -> Bound | None:
    """The piece's constant in norms that `Reading` knows; None where its proof fits neither memory nor time."""
    if not all(1.0 / MODERATE < one < MODERATE for one in constants.values()):
        return None
    parts = parts_of_piece(problem, piece, deadline)
    if parts is None:
        return None
    reading = Reading.of(problem.p, problem.output_norm)
    if reading.is_turned:
        turned = parts.system.transposed
        try:
            parts = Parts(parts.piece, parts.origin, turned, planned(turned), parts.free)
        except TooLarge:
            return None
    if not deadline.fits(PROOFS * parts.work):
        return None
    layers = parts.layers[::-1] if reading.is_turned else parts.layers
    search = Search(parts.system, parts.plan, layers, deadline, parts.work, whole=reading.together)
    rows = Rows(reading)
    _solve(problem, piece, parts, search=search, rows=rows, deadline=deadline)
    best = rows.squares(1 if reading.together else parts.system.outputs)
    if not rows.points or not 0.0 < float(best.max()) < math.inf:
        return None
    proved = _proved(search, rows, float(best.max()))
    return None if proved is None else _bound(problem, piece, parts, rows, proved)


def _solve(problem: Problem, piece: Piece, parts: Parts, *, search: Search, rows: Rows, deadline: Deadline) -> None:
    """Row after row, the largest bound first, as long as one is open and there is time."""
    count, rank = parts.system.outputs, _ranks(search)
    at_once = max(1, min(MOST_ROWS, NUMBERS // (12 * max(node.size for node in (piece.start, *parts.piece.nodes)))))
    tops = [math.inf] * PATIENCE
    if search.whole:
        ascent = _ascended(problem, piece, parts, rows=rows, chosen=None, deadline=deadline)
        rows.attained = float(ascent.value.max())
        _collect(parts, search, rows, ascent, None)
        return
    if count > MANY_ROWS or (count > 1 and parts.work > EXPENSIVE):
        _collect(parts, search, rows, _ascended(problem, piece, parts, rows=rows, chosen=None, deadline=deadline), None)
    while search.go_on(4):
        squares = rows.squares(count)
        order = np.lexsort((-rank, -squares))
        chosen = [int(i) for i in order if int(i) not in rows.solved and rows.is_open(squares[i])][:at_once]
        tops.append(float(squares.max()))
        if not chosen or (count > MANY_ROWS and tops[-1] > STALLED * tops[-1 - PATIENCE]):
            return
        rows.solved.update(chosen)
        _collect(
            parts, search, rows, _ascended(problem, piece, parts, rows=rows, chosen=chosen, deadline=deadline), chosen
        )


def _ascended(
    problem: Problem, piece: Piece, parts: Parts, *, rows: Rows, chosen: Sequence[int] | None, deadline: Deadline
) -> Ascent:
    """Programs of the rows chosen, or of all together."""
    ascent = Ascent.begin(_programs(problem, piece, parts, chosen), problem.seed)
    climb(problem, ascent, GAP, Laps(deadline.share(CLIMBING), PROOFS * parts.work), rows.attained)
    rows.passes += ascent.passes
    if chosen is not None:
        rows.attained = max(rows.attained, float(ascent.value.max()))
    return ascent


def _collect(parts: Parts, search: Search, rows: Rows, ascent: Ascent, chosen: Sequence[int] | None) -> None:
    """The multipliers of the batch's rows, each as far as those before leave it open; the mean of many."""
    maximum = ascent.maximum()
    for i in torch.argsort(ascent.value, descending=True).tolist():
        square = float(maximum.value[i]) ** 2
        if not 0.0 < square < math.inf:
            continue
        weights = maximum.weights[i].cpu().numpy() / square
        weights = weights + LEAST_WEIGHT * weights.mean()
        guess = Point(weights / rows.reading.size(weights), parts.multipliers(maximum, i) / square)
        if parts.system.outputs > MANY_ROWS and not search.whole:
            rows.guesses.append(guess)
        elif chosen is None or rows.is_open(rows.squares(parts.system.outputs)[chosen[i]]):
            _add(search, rows, guess)
    if rows.guesses:
        weights, t = (np.mean([getattr(one, name) for one in rows.guesses], axis=0) for name in ("weights", "t"))
        _add(search, rows, Point(weights, t))


def _add(search: Search, rows: Rows, guess: Point) -> None:
    point = search.feasible(guess.weights, guess.t)
    if point is not None:
        rows.points.append(point[0])
        levels = np.asarray(np.linalg.eigvalsh(point[1])[-1:] if search.whole else point[1], dtype=np.float64)
        rows.levels.append(levels * rows.reading.size(point[0].weights))


def _programs(problem: Problem, piece: Piece, parts: Parts, rows: Sequence[int] | None) -> Programs:
    passes, slopes = Passes(piece.start, parts.piece.nodes), on_device(problem, piece, parts)
    reading = Reading.of(problem.p, problem.output_norm)
    there, back = (passes.backward, passes.forward) if reading.is_turned else (passes.forward, passes.backward)
    norm: Norm = "inf" if reading.are_weighed else "2"
    return Programs(there, back, parts.system.inputs, parts.system.outputs, slopes, norm, rows)


def _ranks(search: Search) -> Array:
    """Sums of magnitudes along all paths to every row: which are likely to be the largest."""
    system = search.system
    n, m, size = system.inputs, system.neurons, abs(system.matrix)
    steepest = np.maximum(np.abs(system.lower), np.abs(system.upper))
    values = np.concatenate([np.ones(n), np.zeros(m)])
    for layer in search.layers:
        values[n + layer.start : n + layer.stop] = steepest[layer] * (size[layer] @ values)
    ranks: Array = size[m:] @ values
    return ranks


def _proved(search: Search, rows: Rows, square: float) -> list[tuple[tuple[int, ...], Point]] | None:
    """Programs that prove the square for all rows: the one that covers most of those left comes next."""
    for more in RAISES[1:]:
        left, points = np.ones(len(rows.levels[0]), dtype=bool), []
        covers = [level <= square * (1.0 + more / 2.0) for level in rows.levels]
        while left.any():
            best = max(range(len(covers)), key=lambda i: int((covers[i] & left).sum()))
            if not (covers[best] & left).any() or not search.go_on(1):
                return None
            point = times(rows.points[best], square * (1.0 + more) / rows.reading.size(rows.points[best].weights))
            proved = search.proves(point) & left
            covers[best] = np.zeros_like(left)
            if proved.any():
                points.append((tuple(np.flatnonzero(proved).tolist()), point))
                left &= ~proved
            elif not any((cover & left).any() for cover in covers):
                break
        if not left.any():
            return points
    return None


def _bound(
    problem: Problem, piece: Piece, parts: Parts, rows: Rows, proved: Sequence[tuple[tuple[int, ...], Point]]
) -> Bound:
    square = max(rows.reading.size(point.weights) for _, point in proved)
    value = up_sqrt(square) * (1.0 + 2.0**-50)
    slopes = {n: (torch.from_numpy(bounds.lower), torch.from_numpy(bounds.upper)) for n, bounds in parts.free.items()}
    every = tuple(range(parts.system.outputs)) if rows.reading.together else None
    programs = tuple(
        Program(every or own, torch.from_numpy(point.weights), parts.scattered(point).t) for own, point in proved
    )
    walk = walk_claim(problem, piece.start, piece.nodes) if problem.q is None else None
    claim = RowsClaim(piece.start, piece.end, slopes, programs, walk, parts.work, parts.piece.nodes, parts.origin)
    optimum = min(rows.attained, value)
    return Bound(value, optimum, 1.0 - (optimum / value) ** 2, rows.passes, parts.system.neurons, [], claim)
