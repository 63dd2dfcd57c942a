"""From a method's claims to a certificate that the independent check has accepted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ... import __version__
from ...contract.plain import Json
from ..bracket import bracket, value_of
from ..claims import Claim, FourierClaim, NormClaim, PhaseClaim, RowsClaim, SemidefiniteClaim, WalkClaim
from ..domain import Ball
from ..network.nodes import Activation, Network, Node
from ..operators.rounding import up_mul, up_product, up_sqrt
from ..problem import Estimate, Problem
from ..request import Request
from ..walk.walk import RULED
from .balls import Array
from .chain_records import chain_record
from .check import recomputed
from .forms import Slopes
from .fourier_records import fourier_record
from .function import function
from .linear import check_work, norm_test
from .matrices import TooLarge, array
from .phase_records import phase_record
from .prover import prover
from .raised import LEAST, RAISED, REPEATABLE, SHARES, UNCHECKED, stated_slopes
from .range_records import range_records
from .record import (
    ActivationRecord,
    Certificate,
    NodeRecord,
    NormRecord,
    PieceRecord,
    Reported,
)
from .rows_records import places_within, rows_record
from .walk import Shortcuts, walked
from .work import proof_work


def certificate(problem: Problem, request: Request, sha256: str, estimates: Sequence[Estimate]) -> Certificate | None:
    """That of the least upper bound that has one; None where no method made claims.

    A proof may come out above the bound that it is for. Then the next bound's certificate counts if it is less.
    All margins at once are no one function, and no certificate proves them.
    There is a certificate whatever the time: what cannot be checked before the deadline is claimed with a margin that
    the check grants, or by AutoLip's walk.
    """
    if request.target.kind == "margins":
        return None
    (ranges, lines, choices), problem = range_records(problem)
    best: Certificate | None = None
    for estimate in sorted(filter(_is_claimed, estimates), key=value_of):
        if best is not None and best.bound <= value_of(estimate):
            break
        document = _certificate(problem, request, sha256, estimate)
        if math.isfinite(document.bound) and (best is None or document.bound < best.bound):
            best = document
    if best is None:
        return None
    return replace(best, reported=_reported(estimates), ranges=ranges, lines=lines, choices=choices)


def _is_claimed(estimate: Estimate) -> bool:
    return bool(estimate.claims) and math.isfinite(value_of(estimate))


def _certificate(problem: Problem, request: Request, sha256: str, estimate: Estimate) -> Certificate:
    position = {node: i for i, node in enumerate(problem.network.nodes)}
    with np.errstate(all="ignore"):
        mine = problem if estimate.through is None else problem.in_norms(*estimate.through)
        pieces = [_piece(mine, claim, position) for claim in estimate.claims]
    more = 1.0 if estimate.through is None else problem.carried(*estimate.through)
    constants = [more, *(piece.constant for piece in pieces)]
    bound = max(up_product(constants), value_of(estimate))
    nodes, engine = node_records(problem.network), f"lipserve {__version__}"
    document = Certificate(sha256, _function(problem, request), engine, estimate.method, bound, nodes, pieces)
    if estimate.through is None:
        return document
    return replace(document, through=dict(zip(("input", "output"), estimate.through, strict=True)))


def _reported(estimates: Sequence[Estimate]) -> Reported | None:
    """The job's own upper bound."""
    upper, _ = bracket(list(estimates))
    return None if upper is None else Reported(upper.method, value_of(upper))


def node_records(network: Network) -> list[NodeRecord]:
    """The network's nodes as a certificate shows them."""
    return [
        NodeRecord(type(node).__name__.lower(), "+".join(origin.name for origin in node.origins)[:200], node.size)
        for node in network.nodes
    ]


def _function(problem: Problem, request: Request) -> Json:
    """What of the request selects the function, as the check reads it; a centre out of a data set as numbers."""
    domain = request.domain.model_dump(mode="json")
    asked = problem.domain if problem.units is None else problem.units.domain
    if isinstance(domain.get("center"), str) and isinstance(asked, Ball):
        domain["center"] = asked.center.tolist()
    kept = {key: getattr(request, key) for key in ("inputs", "input", "output")} | {"norm": request.norms}
    target = request.target.model_dump(mode="json")
    return function(json.loads(json.dumps(kept | {"domain": domain, "target": target} | _scales(problem))))


def _scales(problem: Problem) -> Json:
    units = problem.units
    given = {} if units is None else {"input_scale": units.input, "output_scale": units.output}
    return {name: scale for name, scale in given.items() if scale is not None}


def _piece(problem: Problem, claim: Claim, position: dict[Node, int]) -> PieceRecord:
    if isinstance(claim, PhaseClaim):
        return phase_record(problem, claim, position)
    if isinstance(claim, RowsClaim) and claim.fallback is None:
        unproved = PieceRecord("recomputed", position[claim.start], position[claim.end], math.inf)
        return rows_record(problem, claim, position) or unproved
    if isinstance(claim, RowsClaim):
        assert claim.fallback is not None
        return rows_record(problem, claim, position) or _walk(problem, claim.fallback, position)
    if isinstance(claim, FourierClaim):
        return fourier_record(problem, claim, position) or _walk(problem, claim.fallback, position)
    if isinstance(claim, SemidefiniteClaim):
        return _semidefinite(problem, claim, position) or _walk(problem, claim.fallback, position)
    return _walk(problem, claim, position)


def _semidefinite(problem: Problem, claim: SemidefiniteClaim, position: dict[Node, int]) -> PieceRecord | None:
    """The multipliers, moved towards the strictly feasible ones as far as the check asks for."""
    if not problem.deadline.fits(proof_work(claim)):
        return None
    slopes = {node: _slopes(problem, claim, node) for node in claim.slopes}
    try:
        proves = prover(claim.start, ([claim.end, *claim.nodes])[-1], slopes, only_sparse=claim.work is not None)
    except TooLarge:
        return None
    for share in SHARES:
        if not problem.deadline.fits(proof_work(claim)):
            return None
        rho = claim.solution.rho + share * (claim.inner.rho - claim.solution.rho)
        t = {n: array(x) + share * (array(claim.inner.t[n]) - array(x)) for n, x in claim.solution.t.items()}
        each = np.concatenate([np.zeros(0), *(t[node][bounds.free] for node, bounds in slopes.items())])
        if (each >= 0.0).all() and math.isfinite(rho) and proves(rho, each):
            places = position | places_within(position[claim.start], claim.nodes)
            records = [_activation(places[node], bounds, t[node]) for node, bounds in slopes.items()]
            return PieceRecord("lipsdp", position[claim.start], position[claim.end], up_sqrt(rho), rho, records)
    return None


def _slopes(problem: Problem, claim: SemidefiniteClaim, node: Activation) -> Slopes:
    """The slopes that the record states, and the free neurons: those with a multiplier."""
    stated = stated_slopes(problem, claim.origin.get(node) if claim.nodes else node, *claim.slopes[node])
    return Slopes(*stated, np.flatnonzero(array(claim.solution.t[node])))


def _activation(position: int, slopes: Slopes, t: Array) -> ActivationRecord:
    return ActivationRecord(position, slopes.lower.tolist(), slopes.upper.tolist(), t.tolist())


def _walk(problem: Problem, claim: WalkClaim, position: dict[Node, int]) -> PieceRecord:
    """AutoLip's rule on norms that the check accepts; the service's own walk where the rule has no say."""
    start, end = position[claim.start], position[claim.end]
    nodes = problem.network.nodes[start + 1 : end + 1]
    if not all(isinstance(node, RULED) for node in nodes):
        return PieceRecord("recomputed", start, end, up_mul(recomputed(problem, claim.start, nodes), REPEATABLE))
    norms = [norm for norm in (_norm(problem, norm) for norm in claim.norms) if norm is not None]
    proved = [(chain, chain_record(problem, chain, position)) for chain in claim.chains]
    chains = [(chain, record) for chain, record in proved if record is not None]
    shortcuts: Shortcuts = {
        (chain.node, chain.source): (chain.start, [pair.constant for pair in record.pairs]) for chain, record in chains
    }
    by_way = {(norm.node, norm.source): norm.value for norm in norms}
    constant = walked(problem, claim.start, nodes, by_way, shortcuts)
    if problem.local.bounded:
        # What lies between the ranges that are stated is found again, from them.
        constant = up_mul(constant, REPEATABLE)
    norm_records = [NormRecord(position[norm.node], position[norm.source], norm.value) for norm in norms]
    kind = "seqlip" if chains else "autolip"
    return PieceRecord(kind, start, end, constant, norms=norm_records, chains=[record for _, record in chains])


def _norm(problem: Problem, claim: NormClaim) -> NormClaim | None:
    """The claim, raised as far as the check asks for, or by more than it can ask for where no time is left; None where
    it accepts no finite one.
    """
    if not up_mul(claim.value, UNCHECKED) < math.inf:
        return None
    if not problem.deadline.fits(check_work(claim.node, claim.source)):
        return replace(claim, value=up_mul(claim.value, UNCHECKED))
    test = norm_test(problem, claim.node, claim.source)
    values = [*(up_mul(claim.value, 1.0 + more) for more in RAISED), *(max(claim.value, least) for least in LEAST)]
    for raised in values:
        way = test(raised)
        if way is not None:
            return replace(claim, value=raised if way == "independent" else up_mul(raised, REPEATABLE))
        if problem.deadline.passed:
            return replace(claim, value=up_mul(claim.value, UNCHECKED))
    return None
