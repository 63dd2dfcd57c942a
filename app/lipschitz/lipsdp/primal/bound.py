"""A piece of any graph and size bounded by the primal iteration, and proved by sparse elimination."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ...certificate.balls import Array
from ...certificate.elimination import Plan
from ...certificate.forms import Slopes
from ...certificate.matrices import TooLarge, array
from ...certificate.sparse import planned
from ...certificate.sparse_system import SparseSystem, sparse_system
from ...claims import Multipliers, SemidefiniteClaim
from ...deadline import Deadline, Laps, OutOfTime
from ...network.maxima import written_out
from ...network.nodes import Activation, Node
from ...operators.rounding import up_sqrt
from ...problem import Details, Problem
from ...walk.claims import walk_claim
from ...walk.pieces import Piece
from ..region import slopes_of_free
from ..semidefinite import Bound
from .iteration import DEAD, LEAST_READ, TINY, Ascent, Maximum, Programs, ascend
from .multipliers import RAISES, SHRINKS, Point, Search, Shrinks
from .passes import Passes

GAPS = (1e-5, 1e-7, 1e-9, 1e-11)
"""Gains of ten rounds at which the multipliers are tried: neurons that read little come to their own late."""
FIRST = 2
"""Shrinks that are tried before the last of them: rounds cost less than eliminations, shrinking costs tightness."""
AGAIN = 8
"""Eliminations for which there has to be time left for another try."""
CLOSE = 5e-4
"""Relative distance of the bound to the iteration's value that is good enough."""
OVERHEAD, CALLS = 1.5, 3e7
"""Time of multiplications in small blocks, over that in large ones; what a part costs beside its own."""
PROOFS, LEAST_PROOFS = 3.0, 2.0
"""Eliminations kept in hand while the iteration goes on; where they are dear, for one proof and its check."""
DEAR = 2e-3
"""By how much rho is raised above the ascent's value where an elimination that tells how much is needed is dear."""
CLIMBING = 0.6
"""Share of the time for it, at most."""
MODERATE = 1e100
"""Constants within this and its inverse: no square overflows."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The piece with its maxima written out, its sparse system, and which neurons of every activation are variables."""

    piece: Piece
    origin: Mapping[Activation, Activation]
    system: SparseSystem
    plan: Plan
    free: Mapping[Activation, Slopes]

    @property
    def work(self) -> float:
        """Multiplications of one elimination, at the pace of large matrices."""
        return OVERHEAD * self.plan.work + CALLS * len(self.plan.parts)

    @property
    def layers(self) -> list[slice]:
        """The free neurons of each activation among all."""
        ends = np.cumsum([0, *(len(bounds.free) for bounds in self.free.values())]).tolist()
        return [slice(*pair) for pair in pairwise(ends)]

    @cached_property
    def _squares(self) -> sp.csr_array:
        """The squares of V's entries."""
        return self.system.matrix[: self.system.neurons].power(2)

    def multipliers(self, maximum: Maximum, program: int = 0) -> Array:
        """The free neurons' t = |G| / ((b - a) |v|) of one of the programs, `(M,)`."""
        read, answered, adjoint = (
            np.concatenate([array(of[node][program])[bounds.free] for node, bounds in self.free.items()])
            for of in (maximum.read, maximum.answered, maximum.adjoint)
        )
        parts = np.concatenate([array(maximum.x[program]), answered])
        least = np.maximum(LEAST_READ * np.sqrt(self._squares @ np.square(parts)), TINY)
        for layer in self.layers:
            least[layer] = np.maximum(least[layer], DEAD * read[layer].max(initial=0.0))
        t: Array = adjoint / ((self.system.upper - self.system.lower) * np.maximum(read, least))
        return t

    def scattered(self, point: Point) -> Multipliers:
        """By activation, 0 where a neuron is no variable."""
        t = {}
        for (node, bounds), layer in zip(self.free.items(), self.layers, strict=True):
            each = np.zeros(node.size)
            each[bounds.free] = point.t[layer]
            t[node] = torch.from_numpy(each)
        return Multipliers(float(point.weights.max()), t)


def parts_of_piece(problem: Problem, piece: Piece, deadline: Deadline) -> Parts | None:
    """None where it fits neither memory nor time. A piece whose slopes are all known has a system without neurons."""
    plain = written_out(piece.nodes)
    piece = Piece(piece.start, plain.nodes)
    free = {}
    for node in piece.activations:
        if deadline.passed:
            return None
        whole = torch.zeros(node.size, dtype=torch.float64), torch.ones(node.size, dtype=torch.float64)
        known = problem.local.slopes(plain.origin[node]) if node in plain.origin else whole
        lower, upper, positions = slopes_of_free(*known)
        free[node] = Slopes(array(lower), array(upper), positions.cpu().numpy())
    try:
        system = sparse_system(piece.start, piece.end, free, deadline)
        deadline.check()
        return Parts(piece, plain.origin, system, planned(system), free)
    except (TooLarge, OutOfTime):
        return None


def primal_bound(problem: Problem, piece: Piece, constants: Mapping[Node, float], deadline: Deadline) -> Bound | None:
    """The piece's constant in the 2-norm; None where its proof fits neither memory nor time, or is not found."""
    if not all(1.0 / MODERATE < one < MODERATE for one in constants.values()):
        return None
    parts = parts_of_piece(problem, piece, deadline)
    if parts is None or not deadline.fits(LEAST_PROOFS * parts.work):
        return None
    passes = Passes(piece.start, parts.piece.nodes)
    slopes = on_device(problem, piece, parts)
    programs = Programs(passes.forward, passes.backward, piece.start.size, piece.end.size, slopes)
    search = Search(parts.system, parts.plan, parts.layers, deadline, parts.work)
    best: tuple[Point, Point] | None = None
    ascent = Ascent.begin(programs, problem.seed)
    if not search.go_on(AGAIN):
        climb(problem, ascent, GAPS[1], Laps(deadline.share(CLIMBING), LEAST_PROOFS * parts.work))
        best = _at_once(search, parts, ascent.maximum())
        if best is not None or not search.go_on(int(PROOFS)):
            return None if best is None else _bound(problem, piece, parts, ascent, best)
    for gap in GAPS:
        climb(problem, ascent, gap, Laps(deadline.share(CLIMBING), PROOFS * parts.work))
        is_last = gap == GAPS[-1] or not search.go_on(AGAIN)
        points = _proved(search, parts, ascent.maximum(), SHRINKS if is_last else SHRINKS[:FIRST])
        best = points if best is None or (points is not None and _rho(points) < _rho(best)) else best
        close = best is not None and _rho(best) <= (float(ascent.value) * (1.0 + CLOSE)) ** 2
        if close or is_last:
            break
    return None if best is None else _bound(problem, piece, parts, ascent, best)


def on_device(problem: Problem, piece: Piece, parts: Parts) -> dict[Activation, tuple[Tensor, Tensor]]:
    """The slopes where the network is."""
    like = problem.local.slopes(piece.activations[0])[0]
    return {
        node: (torch.from_numpy(bounds.lower).to(like), torch.from_numpy(bounds.upper).to(like))
        for node, bounds in parts.free.items()
    }


def _rho(points: tuple[Point, Point]) -> float:
    return float(points[0].weights[0])


def climb(problem: Problem, ascent: Ascent, gap: float, laps: Laps, attained: float = 0.0) -> None:
    """Rounds until they bring little or their time is over; `attained` is what others have reached."""
    for rounds in ascend(ascent, gap):
        if rounds % 10 == 0:
            problem.progress(
                {"method": "lipsdp", "phase": "ascending", "optimum": max(attained, float(ascent.value.max()))}
            )
        if laps.is_last():
            break


def _at_once(search: Search, parts: Parts, maximum: Maximum) -> tuple[Point, Point] | None:
    """The point that is likely to do, by one elimination: shrunk as little, tau needs about as much more of rho."""
    rho = float(maximum.value) ** 2 * (1.0 + DEAR)
    if not 0.0 < rho < math.inf:
        return None
    point = search.shrunk(np.ones(parts.system.inputs), parts.multipliers(maximum) / (rho / (1.0 + DEAR)))
    return search.at_level(point, rho)


def _proved(search: Search, parts: Parts, maximum: Maximum, shrinks: Shrinks) -> tuple[Point, Point] | None:
    """A proved point, shrunk more where the first that is positive definite leaves too little room."""
    rho, least = float(maximum.value) ** 2, 0.0
    if not 0.0 < rho < math.inf:
        return None
    for raises in (RAISES[:3:2], RAISES[:3:2], RAISES[:3:2], RAISES):
        points = search.feasible(np.ones(parts.system.inputs), parts.multipliers(maximum) / rho, least, shrinks)
        if points is None:
            return None
        proof = search.proved(points[0], float(np.linalg.eigvalsh(points[1])[-1]), raises)
        if proof is not None:
            return proof
        least = max(3.0 * least, 2e-3)
    return None


def _bound(problem: Problem, piece: Piece, parts: Parts, ascent: Ascent, best: tuple[Point, Point]) -> Bound:
    value, optimum = up_sqrt(_rho(best)), min(float(ascent.value), up_sqrt(_rho(best)))
    slopes = {n: (torch.from_numpy(bounds.lower), torch.from_numpy(bounds.upper)) for n, bounds in parts.free.items()}
    bounds, inner = (parts.scattered(point) for point in best)
    walk = walk_claim(problem, piece.start, piece.nodes)
    claim = SemidefiniteClaim(
        piece.start,
        piece.end,
        slopes,
        bounds,
        inner,
        walk,
        work=parts.work,
        nodes=parts.piece.nodes,
        origin=parts.origin,
    )
    gap = 1.0 - (optimum / value) ** 2
    layers = _activations(ascent, parts.layers, best[0], list(parts.free))
    return Bound(value, optimum, gap, int(ascent.passes), parts.system.neurons, layers, claim)


def _activations(ascent: Ascent, layers: Sequence[slice], point: Point, nodes: Sequence[Activation]) -> list[Details]:
    """How much the worst direction has grown at each activation, relative to the input, and the multipliers."""
    return [
        {
            "name": "+".join(origin.name for origin in node.origins),
            "neurons": layer.stop - layer.start,
            "gain": float(torch.linalg.vector_norm(ascent.answered[node])),
            "multipliers": [float(point.t[layer].min()), float(point.t[layer].max())],
        }
        for node, layer in zip(nodes, layers, strict=True)
        if layer.stop > layer.start
    ]
