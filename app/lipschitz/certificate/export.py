"""From a method's claims to a certificate that the independent check has accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from app import __version__
from app.lipschitz.certificate.balls import Array
from app.lipschitz.certificate.check import recomputed
from app.lipschitz.certificate.claims import Claim, NormClaim, SemidefiniteClaim, WalkClaim
from app.lipschitz.certificate.forms import Slopes
from app.lipschitz.certificate.linear import norm_holds
from app.lipschitz.certificate.matrices import TooLarge, array
from app.lipschitz.certificate.record import ActivationRecord, Certificate, NodeRecord, NormRecord, PieceRecord
from app.lipschitz.certificate.semidefinite import proves, system
from app.lipschitz.certificate.walk import RULED, walked
from app.lipschitz.domain import Ball
from app.lipschitz.network.nodes import Activation, Network, Node
from app.lipschitz.operators.rounding import up_mul, up_product, up_sqrt
from app.lipschitz.problem import Estimate, Problem
from app.lipschitz.request import Request

_RAISED = (0.0, *(10.0**-k for k in range(13, 1, -1)))
_SHARES = (0.0, *(10.0**-k for k in range(11, 0, -1)), 1.0)
_REPEATABLE = 1.0 + 1e-9
"""What is computed again may come out a little different on another machine."""
_WIDER = 1e-10
"""So may slopes on a domain."""


def certificate(problem: Problem, request: Request, sha256: str, estimates: Sequence[Estimate]) -> Certificate | None:
    """That of the least upper bound that has one; None where no method made claims, or no time is left."""
    claimed = [e for e in estimates if e.claims and e.value is not None and math.isfinite(e.value)]
    if not claimed or problem.seconds_left() <= 0.0:
        return None
    best = min(claimed, key=lambda estimate: estimate.value or 0.0)
    position = {node: i for i, node in enumerate(problem.network.nodes)}
    with np.errstate(all="ignore"):
        pieces = [_piece(problem, claim, position) for claim in best.claims]
    bound = up_product([piece.constant for piece in pieces])
    if not math.isfinite(bound):
        return None
    nodes, engine = node_records(problem.network), f"lipserve {__version__}"
    return Certificate(sha256, _function(problem, request), engine, best.method, bound, nodes, pieces)


def node_records(network: Network) -> list[NodeRecord]:
    """The network's nodes as a certificate shows them."""
    return [
        NodeRecord(type(node).__name__.lower(), "+".join(origin.name for origin in node.origins)[:200], node.size)
        for node in network.nodes
    ]


def _function(problem: Problem, request: Request) -> dict[str, Any]:
    """What of the request selects the function; a centre out of a data set as numbers."""
    domain = dict(request.domain)
    if isinstance(domain.get("center"), str) and isinstance(problem.domain, Ball):
        domain["center"] = problem.domain.center.tolist()
    kept = {key: getattr(request, key) for key in ("inputs", "input", "output", "norm", "target")}
    return kept | {"domain": domain}


def _piece(problem: Problem, claim: Claim, position: dict[Node, int]) -> PieceRecord:
    if isinstance(claim, SemidefiniteClaim):
        return _semidefinite(problem, claim, position) or _walk(problem, claim.fallback, position)
    return _walk(problem, claim, position)


def _semidefinite(problem: Problem, claim: SemidefiniteClaim, position: dict[Node, int]) -> PieceRecord | None:
    """The multipliers, moved towards the strictly feasible ones as far as the check asks for."""
    slopes = {node: _slopes(problem, node, *ends, claim.found.t[node]) for node, ends in claim.slopes.items()}
    try:
        checked = system(claim.start, claim.end, slopes)
    except TooLarge:
        return None
    for share in _SHARES:
        rho = claim.found.rho + share * (claim.inner.rho - claim.found.rho)
        t = {n: array(x) + share * (array(claim.inner.t[n]) - array(x)) for n, x in claim.found.t.items()}
        each = np.concatenate([np.zeros(0), *(t[node][found.free] for node, found in slopes.items())])
        if (each >= 0.0).all() and math.isfinite(rho) and proves(checked, rho, each):
            records = [_activation(position[node], found, t[node]) for node, found in slopes.items()]
            return PieceRecord("lipsdp", position[claim.start], position[claim.end], up_sqrt(rho), rho, records)
    return None


def _slopes(problem: Problem, node: Activation, lower: Tensor, upper: Tensor, t: Tensor) -> Slopes:
    """On a bounded domain a little wider, within the slopes on the whole space."""
    least, most, free = array(lower), array(upper), np.flatnonzero(array(t))
    if not problem.local.bounded:
        return Slopes(least, most, free)
    whole, more = node.scalar.slope(), _WIDER * np.maximum(np.abs(least), np.abs(most)) * (least < most)
    wider = np.maximum(least - more, whole.lower), np.minimum(most + more, whole.upper)
    return Slopes(np.minimum(least, wider[0]), np.maximum(most, wider[1]), free)


def _activation(position: int, slopes: Slopes, t: Array) -> ActivationRecord:
    return ActivationRecord(position, slopes.lower.tolist(), slopes.upper.tolist(), t.tolist())


def _walk(problem: Problem, claim: WalkClaim, position: dict[Node, int]) -> PieceRecord:
    """AutoLip's rule on norms that the check accepts; the service's own walk where the rule has no say."""
    start, end = position[claim.start], position[claim.end]
    nodes = problem.network.nodes[start + 1 : end + 1]
    if not all(isinstance(node, RULED) for node in nodes):
        return PieceRecord("recomputed", start, end, up_mul(recomputed(problem, claim.start, nodes), _REPEATABLE))
    norms = [_norm(problem, norm) for norm in claim.norms]
    constant = walked(problem, claim.start, nodes, {(norm.node, norm.source): norm.value for norm in norms})
    records = [NormRecord(position[norm.node], position[norm.source], norm.value) for norm in norms]
    return PieceRecord("autolip", start, end, constant, norms=records)


def _norm(problem: Problem, claim: NormClaim) -> NormClaim:
    """The claim, raised as far as the check asks for."""
    for more in _RAISED:
        raised = up_mul(claim.value, 1.0 + more)
        way = norm_holds(problem, claim.node, claim.source, raised)
        if way is not None:
            return replace(claim, value=raised if way == "independent" else up_mul(raised, _REPEATABLE))
    return replace(claim, value=math.inf)
