"""From SeqLip's claims about chains to records that the independent check has accepted."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..claims import ChainClaim, PairClaim
from ..deadline import Deadline
from ..network.nodes import Node
from ..operators.rounding import up_mul
from ..problem import Problem
from .balls import Array
from .chains import Chain, factored, followed
from .faces import Face, holds
from .fields import InvalidCertificate
from .matrices import TooLarge, array
from .raised import RAISED, widened_slopes
from .record import ChainRecord, FaceRecord, PairRecord

FACTORISING = 60.0
"""Multiplications over the cube of a pair's width."""


def chain_record(problem: Problem, claim: ChainClaim, position: Mapping[Node, int]) -> ChainRecord | None:
    """The chain with proofs of its pairs, as far as the check asks for raised; None where one has none, or no time."""
    chain = followed(claim.node, claim.source, len(claim.pairs))
    if not problem.deadline.fits(_work(claim)):
        return None
    try:
        pairs = _pairs(problem, chain, claim, position)
    except (InvalidCertificate, TooLarge):
        return None
    proved = [pair for pair in pairs if pair is not None]
    return ChainRecord(position[claim.node], position[claim.source], proved) if len(proved) == len(pairs) else None


def _work(claim: ChainClaim) -> float:
    """Multiplications, about, of factorising the layers around each pair and of one proof."""
    return sum(FACTORISING * float(len(pair.lower)) ** 3 for pair in claim.pairs)


def _pairs(problem: Problem, chain: Chain, claim: ChainClaim, position: Mapping[Node, int]) -> list[PairRecord | None]:
    return [
        _pair(Face(*factors, *_slopes(problem, pair)), pair, position, problem.deadline)
        for factors, pair in zip(factored(problem, chain), claim.pairs, strict=True)
    ]


def _slopes(problem: Problem, claim: PairClaim) -> tuple[Array, Array]:
    return widened_slopes(problem, claim.activation, claim.lower, claim.upper)


def _pair(face: Face, claim: PairClaim, position: Mapping[Node, int], deadline: Deadline) -> PairRecord | None:
    faces = [_record(one.split, one.multipliers) for one in claim.proof.tree]
    for more in RAISED:
        value = up_mul(claim.proof.value, 1.0 + more)
        if deadline.passed:
            return None
        if holds(face, faces, value):
            return PairRecord(position[claim.activation], value, face.lower.tolist(), face.upper.tolist(), faces)
    return None


def _record(split: int | None, multipliers: Tensor | None) -> FaceRecord:
    return FaceRecord(split, None if multipliers is None else array(multipliers).tolist())
