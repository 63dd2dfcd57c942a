"""One piece of the network bounded: system, interior-point method, proof, and what the multipliers say about layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..claims import Multipliers, RowsClaim, SemidefiniteClaim
from ..deadline import Deadline, Laps, OutOfTime
from ..network.nodes import Activation, Affine, Concat, Node
from ..operators.composite import work
from ..operators.rounding import up_ldexp, up_mul, up_sqrt
from ..problem import Details, Problem
from ..walk.claims import walk_claim
from ..walk.pieces import Piece
from .dense.interior import Iterate, minimise
from .proof import proved
from .region import Region, region_of, varying
from .sizes import side
from .start import closed_form

FIRST_ITERATION, PROOF = 60.0, 8.0
"""Multiplications over N^3 of a system of side N: until there is an iterate, and of its proof."""


@dataclass(frozen=True, eq=False)
class Bound:
    """A certified constant; `optimum` estimates from below what the relaxation can give, `gap` is relative to it.

    Both stay open, optimum 0 and gap 1, where the deadline comes before the first estimate.
    """

    value: float
    optimum: float
    gap: float
    iterations: int
    neurons: int
    activations: list[Details]
    claim: SemidefiniteClaim | RowsClaim


def bound(
    problem: Problem, piece: Piece, constants: Mapping[Node, float], *, by_layer: bool, gap: float, deadline: Deadline
) -> Bound | None:
    """The piece's constant; after the deadline the best iterate so far, which is as certified as the last.

    None where rounding or the deadline leaves no start.
    """
    try:
        return _bound(problem, piece, constants, by_layer=by_layer, gap=gap, deadline=deadline)
    except OutOfTime:
        return None


def _bound(
    problem: Problem, piece: Piece, constants: Mapping[Node, float], *, by_layer: bool, gap: float, deadline: Deadline
) -> Bound | None:
    slopes = {node: problem.local.slopes(node) for node in piece.activations}
    cube = float(side(piece, problem.local)) ** 3
    deadline.begin(_forming(piece, problem) + FIRST_ITERATION * cube)
    region = region_of(piece.start, piece.end, piece.nodes, slopes, constants, by_layer=by_layer)
    if not isinstance(region, Region):
        upper = problem.norm_of(region)
        return Bound(upper.upper, upper.lower, 0.0, 0, 0, [], _known_claim(problem, piece, slopes, upper.upper))
    system = region.system
    is_whole = (piece.start, piece.end) == (problem.network.input, problem.network.output)
    name = "upper" if is_whole else "piece_upper"

    def watch(now: Iterate) -> bool:
        value = math.ldexp(math.sqrt(max(float(now.rho), 0.0)), region.exponent)
        problem.progress({"method": "lipsdp", "phase": "solving", name: value, "gap": float(now.gap)})
        return laps.is_last()

    laps = Laps(deadline, PROOF * cube)
    start = closed_form(system, region.layers)
    iterate = minimise(system, *start, gap=gap, watch=watch)
    point = proved(system, iterate.rho, iterate.t, start)
    return Bound(
        up_ldexp(up_sqrt(float(point[0])), region.exponent),
        math.ldexp(math.sqrt(max(float(iterate.optimum), 0.0)), region.exponent),
        float(iterate.gap),
        iterate.iterations,
        system.neurons,
        _activations(region, iterate),
        _claim(problem, piece, region, slopes, solution=point, inner=start),
    )


def _forming(piece: Piece, problem: Problem) -> float:
    """Multiplications of the maps between open neurons, whose settled ones are folded: one pass a row at most."""
    linear = [node for node in piece.nodes if isinstance(node, Affine | Concat)]
    return side(piece, problem.local) * sum(work(term.operator) for node in linear for term in node.terms)


Point = tuple[Tensor, Tensor]
"""rho `(1,)` and t `(1, m)` of a system."""


def _activations(region: Region, iterate: Iterate) -> list[Details]:
    """How much the worst direction has grown at each activation, relative to the input, and the multipliers."""
    z, t = iterate.z[0].diagonal()[region.system.inputs :], region.system.per_neuron(iterate.t)[0]
    return [
        {
            "name": "+".join(origin.name for origin in node.origins),
            "neurons": layer.stop - layer.start,
            "gain": scale * math.sqrt(max(float(z[layer].sum()), 0.0)),
            "multipliers": [float(t[layer].min()), float(t[layer].max())],
        }
        for node, layer, scale in zip(region.activations, region.layers, region.scales, strict=True)
    ]


Slopes = Mapping[Activation, tuple[Tensor, Tensor]]


def _known_claim(problem: Problem, piece: Piece, slopes: Slopes, constant: float) -> SemidefiniteClaim:
    """No multipliers where every slope is known: the constraint says that rho I is at least C^T C."""
    none = {node: torch.zeros_like(lower) for node, (lower, _) in slopes.items()}
    solution, inner = (Multipliers(up_mul(constant, constant) * room, none) for room in (1.0, 2.0))
    return SemidefiniteClaim(
        piece.start, piece.end, slopes, solution, inner, walk_claim(problem, piece.start, piece.nodes)
    )


def _claim(
    problem: Problem, piece: Piece, region: Region, slopes: Slopes, *, solution: Point, inner: Point
) -> SemidefiniteClaim:
    """The multipliers as a certificate needs them, with the slopes that the system was made of."""
    system, widened = region.system, dict(slopes)
    for node, layer in zip(region.activations, region.layers, strict=True):
        lower, upper = slopes[node]
        free = varying(lower, upper)
        widened[node] = (_placed(free, system.lower[0, layer], lower), _placed(free, system.upper[0, layer], upper))
    return SemidefiniteClaim(
        piece.start,
        piece.end,
        widened,
        _multipliers(region, slopes, solution),
        _multipliers(region, slopes, inner),
        walk_claim(problem, piece.start, piece.nodes),
    )


def _multipliers(region: Region, slopes: Slopes, point: Point) -> Multipliers:
    """In the network's own coordinates, z = scale z', y = 2^exponent y'; 0 for neurons whose slope is known."""
    rho, t = point
    growth = torch.ldexp(torch.ones_like(rho), torch.tensor(region.exponent))
    each = {node: torch.zeros_like(ends[0]) for node, ends in slopes.items()}
    for node, layer, scale in zip(region.activations, region.layers, region.scales, strict=True):
        own = region.system.per_neuron(t)[0, layer] * (growth / scale).square()
        each[node] = _placed(varying(*slopes[node]), own, each[node])
    return Multipliers(float(rho * growth.square()), each)


def _placed(where: Tensor, values: Tensor, otherwise: Tensor) -> Tensor:
    """The values at the marked positions."""
    return otherwise.masked_scatter(where, values)
