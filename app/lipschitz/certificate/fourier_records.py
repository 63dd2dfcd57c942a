"""From a claim in the Fourier domain to a record that the independent check has accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..claims import FourierClaim
from ..network.nodes import Node
from ..operators.rounding import up_sqrt
from ..problem import Problem
from .balls import Array
from .fourier import hull, neurons, proves
from .matrices import TooLarge, array
from .raised import SHARES, wider
from .record import MapRecord, PieceRecord
from .torus import Layer, Torus, layers_of
from .work import proof_work


def fourier_record(problem: Problem, claim: FourierClaim, position: Mapping[Node, int]) -> PieceRecord | None:
    """The multipliers, moved towards those inside as far as the check asks for; None where it accepts none of them."""
    start, end = position[claim.start], position[claim.end]
    layers = layers_of(claim.start, problem.network.nodes[start + 1 : end + 1])
    torus = Torus(tuple(convolution for convolution, _ in layers), claim.sides)
    try:
        for share in SHARES:
            if not problem.deadline.fits(proof_work(claim)):
                return None
            rho = _between(claim.solution.rho, claim.inner.rho, share)
            maps = _maps(problem, layers, claim, share)
            if math.isfinite(rho) and proves(torus, neurons(problem, torus, layers, maps), rho):
                return PieceRecord("fourier", start, end, up_sqrt(rho), rho, torus=list(claim.sides), maps=maps)
    except TooLarge:
        pass
    return None


def _maps(problem: Problem, layers: Sequence[Layer], claim: FourierClaim, share: float) -> list[MapRecord]:
    return [
        MapRecord(*_slopes(problem, layer), _moved(solution, inner, share).tolist())
        for layer, solution, inner in zip(layers, claim.maps, claim.inner_maps, strict=False)
    ]


def _moved(solution: Tensor, inner: Tensor, share: float) -> Array:
    return array(solution) + share * (array(inner) - array(solution))


def _between(solution: float, inner: float, share: float) -> float:
    return solution + share * (inner - solution)


def _slopes(problem: Problem, layer: Layer) -> tuple[list[float], list[float]]:
    """Those of the channels, on a bounded domain a little wider."""
    lower, upper = hull(problem, layer)
    if layer[1] is None or not problem.local.bounded:
        return lower.tolist(), upper.tolist()
    whole = layer[1].scalar.slope()
    least, most = wider(lower, upper, min(whole.lower, 0.0), max(whole.upper, 0.0))
    return least.tolist(), most.tolist()
