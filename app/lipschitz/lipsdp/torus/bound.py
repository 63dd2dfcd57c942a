"""LipSDP of a long chain of convolutions: solved in the Fourier domain, where the maps' sizes cost next to nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...claims import FourierClaim, Multipliers, WalkClaim
from ...deadline import Deadline, Laps, OutOfTime
from ...network.nodes import Activation
from ...operators.rounding import up_add, up_ldexp, up_product, up_sqrt, up_sum
from ...problem import Details, Problem
from ...walk.claims import walk_claim
from ...walk.pieces import Piece, joined
from ..dense.interior import Iterate
from ..semidefinite import Bound
from .chain import Slopes, chain_of, is_link, matrix_side
from .fourier import Chain, steepest
from .search import Solution, least_rho

LARGEST_SIDE = 1200
"""Side of one frequency's matrix: six of them take the solver about 2 GB."""

FINEST_GAP = 1e-5
"""Nothing is gained by a finer one: the torus costs more than that."""

MODERATE = 1e200
"""Norms within this and its inverse: the symbols' rounding allowance then covers underflow by far."""

SOLVING = 0.7
"""Share of the time for solving: the proof on all frequencies comes after."""


FIRST_ROUND = 300.0
"""Multiplications over N^3 until there is an iterate for a few frequencies of side N."""


@dataclass(frozen=True, eq=False)
class FourierBound(Bound):
    """A certified constant; `optimum` estimates from below what this relaxation can give, `gap` is relative to it."""

    claim: FourierClaim


def longest_chain(pieces: Sequence[Piece], split_size: int) -> int:
    """How many of the first pieces form a chain that the Fourier domain can hold, up to `split_size` layers."""
    longest = 0
    for count in range(1, len(pieces) + 1):
        if not all(is_link(node) for node in pieces[count - 1].nodes):
            break
        layers = chain_of(joined(pieces[:count]).nodes)
        if layers is None:
            continue
        if matrix_side(layers) > LARGEST_SIDE or 0 < split_size < len(layers):
            break
        longest = count
    return longest


def fourier_bound(
    problem: Problem, piece: Piece, by_layer: bool, gap: float, deadline: Deadline
) -> FourierBound | None:
    """The piece's constant, as far as the deadline allows; None where it is no chain that fits, or no time is left."""
    layers = chain_of(piece.nodes)
    if layers is None or matrix_side(layers) > LARGEST_SIDE or deadline.passed:
        return None
    norms = [problem.norm_of(layer.convolution).upper for layer in layers]
    if not all(1.0 / MODERATE < norm < MODERATE for norm in norms):
        return None
    laps = Laps(deadline.share(SOLVING))
    if not deadline.fits(FIRST_ROUND * matrix_side(layers) ** 3):
        return None
    slopes = {node: problem.local.slopes(node) for node in piece.activations}
    chain = Chain.of(layers, slopes, norms, by_layer=by_layer)

    def watch(now: Iterate) -> bool:
        problem.progress({"method": "lipsdp", "phase": "solving frequencies", "gap": float(now.gap)})
        return laps.is_last()

    try:
        solution = least_rho(chain, max(gap, FINEST_GAP), watch, deadline)
    except OutOfTime:
        return None
    value = up_ldexp(up_sqrt(float(solution.rho)), chain.exponents[-1])
    claim = _claim(chain, solution, slopes, walk_claim(problem, piece.start, piece.nodes))
    return _bound(chain, solution, up_add(value, _of_errors(chain, norms)), claim)


def _of_errors(chain: Chain, norms: Sequence[float]) -> float:
    """What the stored kernels' errors can add: whatever the slopes, the product of maps changes by no more."""
    errors = [layer.convolution.error for layer in chain.layers]
    slopes = [steepest(slopes) for slopes in chain.slopes]
    changes = [up_product([*norms[:k], error, *norms[k + 1 :], *slopes]) for k, error in enumerate(errors)]
    return up_sum(changes)


def _bound(chain: Chain, solution: Solution, value: float, claim: FourierClaim) -> FourierBound:
    optimum = math.ldexp(math.sqrt(max(float(solution.optimum), 0.0)), chain.exponents[-1])
    return FourierBound(
        value=value,
        optimum=optimum,
        gap=1.0 - (optimum / value) ** 2,
        iterations=solution.iterations,
        neurons=sum(layer.activation.size for layer in chain.layers if layer.activation is not None),
        activations=_activations(chain, solution.iterate),
        claim=claim,
    )


def _claim(chain: Chain, solution: Solution, slopes: Mapping[Activation, Slopes], fallback: WalkClaim) -> FourierClaim:
    """The point that proves the constant, and one inside, in the network's own coordinates."""
    (rho, maps), (inner, inner_maps) = (
        _unscaled(chain, *point) for point in ((solution.rho, solution.t), solution.inner)
    )
    ends = Multipliers(rho, {}), Multipliers(inner, {})
    return FourierClaim(fallback.start, fallback.end, slopes, *ends, fallback, chain.sides, maps, inner_maps)


def _unscaled(chain: Chain, rho: Tensor, t: Tensor) -> tuple[float, tuple[Tensor, ...]]:
    """z = 2^e z', y = 2^g y': rho = 4^g rho' and t = 4^(g - e) t'; real and imaginary parts share a multiplier."""
    growth, each = chain.exponents[-1], t[0][chain.groups]
    halves = (each[place][: (place.stop - place.start) // 2] for place in chain.ranges)
    maps = tuple(x * 4.0 ** (growth - own) for x, own in zip(halves, chain.exponents[1:], strict=False))
    return float(rho) * 4.0**growth, maps


def _activations(chain: Chain, iterate: Iterate) -> list[Details]:
    """How much the worst direction has grown at each activation, relative to the input, and the multipliers."""
    z = iterate.z.diagonal(dim1=1, dim2=2).sum(0)[2 * chain.widths[0] :]
    t = iterate.t[0][chain.groups]
    return [
        {
            "name": "+".join(origin.name for origin in layer.activation.origins),
            "neurons": layer.activation.size,
            "gain": 2.0**exponent * math.sqrt(max(float(z[place].sum()), 0.0)),
            "multipliers": [float(t[place].min()), float(t[place].max())],
        }
        for layer, place, exponent in zip(chain.layers, chain.ranges, chain.exponents[1:], strict=False)
        if layer.activation is not None
    ]
