"""One piece of the network bounded: system, interior-point method, proof, and what the multipliers say about layers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from app.lipschitz.certificate.claims import Multipliers, SemidefiniteClaim
from app.lipschitz.methods.claims import walk_claim
from app.lipschitz.methods.pieces import Piece
from app.lipschitz.network.nodes import Activation, Node
from app.lipschitz.operators.rounding import up_ldexp, up_mul, up_sqrt
from app.lipschitz.problem import Problem
from app.lipschitz.sdp.deep import deep_chain, minimise_deep
from app.lipschitz.sdp.interior import Iterate, minimise
from app.lipschitz.sdp.proof import proved
from app.lipschitz.sdp.region import Region, region_of, varying
from app.lipschitz.sdp.start import closed_form


@dataclass(frozen=True, eq=False)
class Bound:
    """A certified constant; `optimum` estimates from below what the relaxation can give, `gap` is relative to it.

    Deep chains (`sdp.deep`) leave both open: optimum 0, gap 1.
    """

    value: float
    optimum: float
    gap: float
    iterations: int
    neurons: int
    activations: list[dict[str, Any]]
    claim: SemidefiniteClaim


def bound(
    problem: Problem, piece: Piece, constants: Mapping[Node, float], by_layer: bool, gap: float, deadline: float
) -> Bound:
    """The piece's constant; after the deadline the best iterate so far, which is as certified as the last."""
    slopes = {node: problem.local.slopes(node) for node in piece.activations}
    region = region_of(piece.start, piece.end, piece.nodes, slopes, constants, by_layer=by_layer)
    if not isinstance(region, Region):
        upper = problem.norm_of(region)
        return Bound(upper.upper, upper.lower, 0.0, 0, 0, [], _known_claim(problem, piece, slopes, upper.upper))
    system = region.system
    start = closed_form(system, region.layers)

    def watch(now: Iterate) -> bool:
        value = math.ldexp(math.sqrt(float(now.rho)), region.exponent)
        problem.progress({"method": "lipsdp", "phase": "solving", "upper": value, "gap": float(now.gap)})
        return time.monotonic() > deadline

    chain = deep_chain(system, region.layers)
    if chain is None:
        found = minimise(system, *start, gap=gap, watch=watch)
    else:
        found = minimise_deep(system, chain, *start, gap=gap, watch=watch)
    rho, t = proved(system, found.rho, found.t, start)
    return Bound(
        up_ldexp(up_sqrt(float(rho)), region.exponent),
        math.ldexp(math.sqrt(max(float(found.optimum), 0.0)), region.exponent),
        float(found.gap),
        found.iterations,
        system.neurons,
        _activations(region, found),
        _claim(problem, piece, region, slopes, (rho, t), start),
    )


def _activations(region: Region, found: Iterate) -> list[dict[str, Any]]:
    """How much the worst direction has grown at each activation, relative to the input, and the multipliers."""
    z = found.z[0].diagonal()[region.system.inputs :]
    t = region.system.per_neuron(found.t)[0]
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
Point = tuple[Tensor, Tensor]
"""rho and t of a system."""


def _known_claim(problem: Problem, piece: Piece, slopes: Slopes, constant: float) -> SemidefiniteClaim:
    """No multipliers where every slope is known: the constraint says that rho I is at least C^T C."""
    none = {node: torch.zeros_like(lower) for node, (lower, _) in slopes.items()}
    found, inner = (Multipliers(up_mul(constant, constant) * room, none) for room in (1.0, 2.0))
    return SemidefiniteClaim(
        piece.start, piece.end, slopes, found, inner, walk_claim(problem, piece.start, piece.nodes)
    )


def _claim(
    problem: Problem, piece: Piece, region: Region, slopes: Slopes, found: Point, inner: Point
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
        _multipliers(region, slopes, found),
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
