"""How much work the certificate of a bound will be, as far as that can be told beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from ..claims import Claim, FourierClaim, PhaseClaim, PhaseRecord, RowsClaim, SemidefiniteClaim

PROOF = 12.0
"""Multiplications over N^3 of one proof of side N: products in balls, and a factorisation."""
CALLS = 1e6
"""Multiplications that take about as long as the calls of a small proof."""
ATTEMPTS = 2.0
"""Proofs that a semidefinite claim usually takes."""


class Claimed(Protocol):
    """A bound with the claims behind it."""

    @property
    def value(self) -> float | None:
        """The bound."""

    @property
    def claims(self) -> Sequence[Claim]:
        """What a certificate rests on."""


def least_work(estimates: Sequence[Claimed]) -> float:
    """That of the least bound that has claims; 0 where none has."""
    claimed = [one for one in estimates if one.claims and one.value is not None and math.isfinite(one.value)]
    best = min(claimed, key=lambda one: one.value or 0.0, default=None)
    return 0.0 if best is None else ATTEMPTS * sum(proof_work(claim) for claim in best.claims)


def proof_work(claim: Claim) -> float:
    """Multiplications of one proof of the claim; norms, one by one, are left out where time is short."""
    if isinstance(claim, FourierClaim):
        side = 2.0 * sum(len(one) for one in claim.maps)
        return PROOF * math.prod(claim.sides) * side**3
    if isinstance(claim, SemidefiniteClaim):
        if claim.work is not None:
            return claim.work
        neurons = sum(float((t != 0.0).sum()) for t in claim.solution.t.values())
        return PROOF * (neurons + min(claim.start.size, neurons)) ** 3
    if isinstance(claim, RowsClaim):
        return claim.work * len(claim.programs)
    if isinstance(claim, PhaseClaim):
        return sum(_leaf_work(record, claim.start.size) for record in claim.tree if record.split is None)
    return 0.0


def _leaf_work(record: PhaseRecord, inputs: int) -> float:
    """Small proofs cost what calls cost."""
    return CALLS + PROOF * float(len(record.multipliers or ()) + inputs) ** 3
