"""LipSDP [F19]: the semidefinite bound, proved, on any graph of affine maps and elementwise activations.

Maxima over windows count as rectifiers in the 2-norm. Other nodes (normalisation, products) cut the network; their
pieces are bounded by AutoLip's walk and the factors multiplied. The form `network` of [F19] is no bound (Pauli et al.,
IEEE L-CSS 2022) and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...contract.options import LipsdpOptions
from ..certificate.work import ATTEMPTS, PROOF
from ..claims import Claim
from ..deadline import Deadline
from ..errors import MethodSkipped
from ..operators.norm import Norm
from ..operators.rounding import up_product
from ..problem import Details, Estimate, Problem
from ..walk.claims import walk_claim
from ..walk.pieces import Piece, constants_within, cuts
from .dense.interior import NotPositive
from .planning import is_worthwhile, planned
from .primal.bound import primal_bound
from .primal.rows import rows_bound
from .semidefinite import Bound, bound
from .sizes import is_large, side
from .torus.bound import FourierBound, fourier_bound

NATIVE: tuple[tuple[Norm, Norm], ...] = (("inf", "2"), ("2", "inf"), ("2", "1"), ("1", "2"))
"""Pairs of norms with programs of their own."""
CERTIFYING = 0.3
"""Share of the time, at most, that is left for checking the certificate."""


SMALL_SIDE, MIDDLE_SIDE = 600, 1500
"""Up to the first the interior-point method takes a second or two, up to the second half a minute."""
TO_THE_END = 1500.0
"""Multiplications over N^3 of the interior-point method until all digits are there."""
PRIMAL = 0.7
"""Share of the time, at most, for the primal iteration and its proof; the rest is for what comes where they fail."""

MODERATE = 1e290
"""Constants of nodes within this and its inverse are scaled to one."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A piece with its constant, and the semidefinite bound behind it where there is one."""

    piece: Piece
    value: float
    autolip: float
    bound: Bound | FourierBound | None = None


def lipsdp(problem: Problem, options: LipsdpOptions) -> Estimate:
    """The certified bound of the form and splitting asked for; never above the product of AutoLip's factors."""
    check(problem, options)
    if problem.q is not None:
        return _between_norms(problem, options)
    deadline = problem.deadline_within(options.seconds)
    finest = cuts(problem.network)
    with_maxima = problem.p == "2" and not problem.local.bounded
    wholes = planned(finest, options.split_size, problem.local, is_limited=False, with_maxima=with_maxima)
    if not any(is_worthwhile(piece) for piece in wholes):
        raise MethodSkipped("no elementwise activation stands between two affine layers: autolip says all there is")
    deadline = deadline.before(_for_certificate(problem, wholes, deadline))
    factors = [factor for whole in wholes for factor in _factors(problem, whole, finest, options, deadline)]
    value = up_product([factor.value for factor in factors])
    claims = [_claim(problem, factor) for factor in factors]
    return Estimate("lipsdp", value, details=_details(factors, options), layers=_layers(factors), claims=claims)


def _between_norms(problem: Problem, options: LipsdpOptions) -> Estimate:
    """From one norm to another: the whole network in one piece, or nothing."""
    first, *others = problem.network.nodes
    whole, asked = Piece(first, tuple(others)), (problem.p, problem.output_norm)
    if asked not in NATIVE or not is_worthwhile(whole):
        raise MethodSkipped(f"LipSDP has no program for this network from the {asked[0]}- to the {asked[1]}-norm")
    bound = rows_bound(problem, whole, {}, problem.deadline_within(options.seconds))
    if bound is None:
        raise MethodSkipped(f"LipSDP from the {asked[0]}- to the {asked[1]}-norm fits neither memory nor time")
    factor = Factor(whole, bound.value, bound.value, bound)
    details = _details([factor], options)
    return Estimate("lipsdp", bound.value, details=details, layers=_layers([factor]), claims=[bound.claim])


def _for_certificate(problem: Problem, pieces: Sequence[Piece], deadline: Deadline) -> float:
    """Seconds that the certificate will take, a share of what is left at most."""
    local = problem.local
    sides = [side(piece, local) for piece in pieces if is_worthwhile(piece) and not is_large(piece, local)]
    if math.isinf(deadline.left):
        return 0.0
    return min(deadline.pace.seconds(ATTEMPTS * PROOF * sum(float(n) ** 3 for n in sides)), CERTIFYING * deadline.left)


def check(problem: Problem, options: LipsdpOptions) -> None:
    """MethodSkipped where LipSDP cannot serve the norm or the form."""
    if (problem.p, problem.output_norm) != ("2", "2") and options.form == "layer":
        raise MethodSkipped(f"LipSDP with one multiplier a layer bounds the 2-norm, not the {problem.p}-norm")
    if options.form == "network":
        raise MethodSkipped(
            "the form 'network' of LipSDP (multipliers that couple neurons) is not a bound: Pauli et al., Training "
            "robust neural networks using Lipschitz bounds, IEEE L-CSS 2022, give a counterexample; ask for 'neuron'"
        )


def _factors(
    problem: Problem, whole: Piece, finest: Sequence[Piece], options: LipsdpOptions, deadline: Deadline
) -> list[Factor]:
    """The whole piece by the primal iteration where that holds it, in parts where nothing does.

    Small ones have the interior-point method, which gives all digits; those between have both. Beyond what dense
    algebra holds the primal iteration, with a multiplier a neuron, also serves the form `layer`: it costs no more.
    """
    if problem.p != "2":
        return [_by_rows(problem, whole, deadline)]
    parts = [piece for piece in finest if piece.end in set(whole.nodes)]
    size = side(whole, problem.local) if is_worthwhile(whole) else 0
    is_large_enough = size > 0 and (
        is_large(whole, problem.local) or (options.form == "neuron" and (size > SMALL_SIDE or not whole.is_elementwise))
    )
    first = _primal(problem, whole, deadline.share(PRIMAL)) if is_large_enough else None
    if first is not None and not (
        whole.is_elementwise and size <= MIDDLE_SIDE and deadline.fits(TO_THE_END * float(size) ** 3)
    ):
        return [first]
    pieces = planned(parts, options.split_size, problem.local)
    factors = [_factor(problem, piece, options, deadline) for piece in pieces]
    return [first] if first is not None and first.value <= up_product([one.value for one in factors]) else factors


def _by_rows(problem: Problem, piece: Piece, deadline: Deadline) -> Factor:
    """In the inf- and 1-norm; AutoLip's constant where that is no less."""
    constants = constants_within(problem, piece)
    autolip = constants[piece.end]
    bound = rows_bound(problem, piece, constants, deadline) if is_worthwhile(piece) and autolip > 0.0 else None
    return Factor(piece, autolip if bound is None else min(autolip, bound.value), autolip, bound)


def _primal(problem: Problem, piece: Piece, deadline: Deadline) -> Factor | None:
    constants = constants_within(problem, piece)
    bound = primal_bound(problem, piece, constants, deadline)
    autolip = constants[piece.end]
    return None if bound is None or bound.value >= autolip else Factor(piece, bound.value, autolip, bound)


def _factor(problem: Problem, piece: Piece, options: LipsdpOptions, deadline: Deadline) -> Factor:
    constants = constants_within(problem, piece)
    autolip = constants[piece.end]
    if not is_worthwhile(piece) or autolip == 0.0 or not all(_is_moderate(one) for one in constants.values()):
        return Factor(piece, autolip, autolip)
    if not piece.is_elementwise:
        return _primal(problem, piece, deadline) or Factor(piece, autolip, autolip)
    by_layer, gap = options.form == "layer", options.gap
    solution: Bound | FourierBound | None = None
    with suppress(NotPositive):
        large = is_large(piece, problem.local)
        solution = fourier_bound(problem, piece, by_layer, gap, deadline) if large else None
        if not large:
            solution = bound(problem, piece, constants, by_layer=by_layer, gap=gap, deadline=deadline)
    return Factor(piece, autolip if solution is None else min(autolip, solution.value), autolip, solution)


def _is_moderate(constant: float) -> bool:
    """Whether the power of two next to it can be divided by without overflow."""
    return constant == 0.0 or 1.0 / MODERATE < constant < MODERATE


def _claim(problem: Problem, factor: Factor) -> Claim:
    """The multipliers where they gave the factor, AutoLip's norms elsewhere."""
    if isinstance(factor.bound, Bound) and factor.bound.value < factor.autolip:
        return factor.bound.claim
    return walk_claim(problem, factor.piece.start, factor.piece.nodes)


def _details(factors: Sequence[Factor], options: LipsdpOptions) -> Details:
    solved = [factor.bound for factor in factors if factor.bound is not None]
    return {
        "form": options.form,
        "whole": all(factor.bound is not None or not is_worthwhile(factor.piece) for factor in factors),
        "pieces": len(solved),
        "neurons": sum(bound.neurons for bound in solved),
        "iterations": sum(bound.iterations for bound in solved),
        "gap": max((bound.gap for bound in solved), default=None),
        "relaxation_optimum": _optimum(factors),
    }


def _optimum(factors: Sequence[Factor]) -> float:
    """What no multipliers can go below, to the solver's accuracy: an estimate, never above what is proved."""
    values = [factor.value if factor.bound is None else min(factor.bound.optimum, factor.value) for factor in factors]
    return math.prod(values)


def _layers(factors: Sequence[Factor]) -> list[Details]:
    return [
        {
            "names": [origin.name for node in factor.piece.nodes for origin in node.origins],
            "factor": factor.value,
            "autolip": factor.autolip,
            "gain": factor.autolip / factor.value if factor.value > 0.0 else None,
            "activations": [] if factor.bound is None else factor.bound.activations,
        }
        for factor in factors
    ]
