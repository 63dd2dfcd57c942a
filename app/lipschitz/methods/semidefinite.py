"""One piece of the network bounded: system, interior-point method, proof, and what the multipliers say about layers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.lipschitz.methods.pieces import Piece
from app.lipschitz.network.nodes import Node
from app.lipschitz.operators.rounding import up_ldexp, up_sqrt
from app.lipschitz.problem import Problem
from app.lipschitz.sdp.interior import Iterate, minimise
from app.lipschitz.sdp.proof import proved
from app.lipschitz.sdp.region import Region, region_of
from app.lipschitz.sdp.start import closed_form


@dataclass(frozen=True, eq=False)
class Bound:
    """A certified constant; `optimum` estimates from below what the relaxation can give, `gap` is relative to it."""

    value: float
    optimum: float
    gap: float
    iterations: int
    neurons: int
    activations: list[dict[str, Any]]


def bound(
    problem: Problem, piece: Piece, constants: Mapping[Node, float], by_layer: bool, gap: float, deadline: float
) -> Bound:
    """The piece's constant; after the deadline the best iterate so far, which is as certified as the last."""
    slopes = {node: problem.local.slopes(node) for node in piece.activations}
    region = region_of(piece.start, piece.end, piece.nodes, slopes, constants, by_layer=by_layer)
    if not isinstance(region, Region):
        upper = problem.norm_of(region)
        return Bound(upper.upper, upper.lower, 0.0, 0, 0, [])
    system = region.system
    start = closed_form(system, region.layers)

    def watch(now: Iterate) -> bool:
        value = math.ldexp(math.sqrt(float(now.rho)), region.exponent)
        problem.progress({"method": "lipsdp", "phase": "solving", "upper": value, "gap": float(now.gap)})
        return time.monotonic() > deadline

    found = minimise(system, *start, gap=gap, watch=watch)
    rho, _ = proved(system, found.rho, found.t, start)
    return Bound(
        up_ldexp(up_sqrt(float(rho)), region.exponent),
        math.ldexp(math.sqrt(max(float(found.optimum), 0.0)), region.exponent),
        float(found.gap),
        found.iterations,
        system.neurons,
        _activations(region, found),
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
