"""Is a certificate true of a model? Everything but the graph and the slopes on its domain is computed here anew.

Shared with the service: reading the model, the typed network that must reproduce it, its interval arithmetic, the
weights of its linear maps, and what each activation tells of its values and difference quotients on an interval. Not
shared: the proof of narrower ranges on the domain (`ranges`), and the assembly and the proof of the inequalities.
Parts that only the service's own code could bound are reported as "recomputed".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction

import numpy as np

from ...contract.plain import Json
from ..artifact import from_bytes
from ..artifact.captured import Captured, InputShapes
from ..deadline import NEVER
from ..errors import LipschitzError
from ..failures import failure, is_exhaustion
from ..formulation import make_problem
from ..network.inputs import with_input
from ..operators.norm import Norm
from ..problem import Problem
from ..request import Request
from .check import check_piece
from .export import node_records
from .fields import InvalidCertificate
from .ranges import with_ranges
from .reading import read
from .record import Certificate, PieceRecord


def verify(artifact: bytes, certificate: bytes, model_sha256: str) -> Json:
    """Whether the certificate's bound is proved for the model whose captured graph is in `artifact`.

    Returns `valid`, the `bound` with its `method` and `function`, what the job `reported` (which nothing here proves),
    the `reasons` against the bound, its `pieces` with the `check` each has passed, the weakest `check` of all, and
    `seconds`. Never raises for what the certificate says.
    """
    started = time.monotonic()
    answer: Json = {"valid": False, "reasons": [], "pieces": []}
    try:
        stated = read(certificate)
        answer |= {"bound": stated.bound, "method": stated.method, "function": stated.function}
        answer["reported"] = asdict(stated.reported) if stated.reported else None
        problem = _problem(artifact, stated, model_sha256)
        _check_shape(stated, problem)
        problem = with_ranges(problem, stated.ranges, stated.lines, stated.choices)
        problem = _in_norms(problem, stated)
        answer["pieces"] = [_checked(problem, piece) for piece in stated.pieces]
    except InvalidCertificate as reason:
        answer["reasons"] = [str(reason)]
    except LipschitzError as reason:
        answer["reasons"] = [f"the model does not give the certificate's function: {reason.detail}"]
    except Exception as error:
        answer["reasons"] = [f"the certificate cannot be checked: {cause(error)}"]
    failed = [f"piece {i}: {piece['reason']}" for i, piece in enumerate(answer["pieces"]) if piece["reason"]]
    answer["reasons"] += failed
    weakest = "recomputed" if any(piece["check"] == "recomputed" for piece in answer["pieces"]) else "independent"
    valid = not answer["reasons"]
    return answer | {"valid": valid, "check": weakest if valid else None, "seconds": time.monotonic() - started}


def refused(certificate: bytes, reason: str) -> Json:
    """The answer of `verify` where there is no captured graph to check the certificate on."""
    stated = read(certificate)
    answer = {"bound": stated.bound, "method": stated.method, "function": stated.function, "reported": None}
    return answer | {"valid": False, "check": None, "reasons": [reason], "pieces": [], "seconds": 0.0}


def _problem(artifact: bytes, stated: Certificate, model_sha256: str) -> Problem:
    """The network, from the captured graph."""
    if model_sha256 != stated.sha256:
        raise InvalidCertificate("the certificate is for another model: the hashes differ")
    request = Request.parse(stated.function | {"methods": ["autolip"]})
    whole = from_bytes(artifact)
    _check_inputs(whole, request.inputs)
    captured = with_input(whole, request.input)
    return make_problem(captured, request, NEVER, lambda _: None)


def _check_inputs(captured: Captured, shapes: InputShapes | None) -> None:
    """The graph was captured with the shapes that the certificate speaks of."""
    given = shapes if isinstance(shapes, dict) else dict(enumerate(shapes or []))
    for position, spec in enumerate(captured.inputs):
        shape = given.get(spec.name, given.get(position)) if given else None  # type: ignore[call-overload]
        if shape is not None and tuple(shape) != spec.shape:
            raise InvalidCertificate(f"the graph was captured with input {spec.name} of shape {list(spec.shape)}")


def cause(error: Exception) -> str:
    """An unexpected error as a reason why nothing is proved."""
    return "there is not enough memory" if is_exhaustion(error) else failure(error)


def _check_shape(stated: Certificate, problem: Problem) -> None:
    """The graph is the one that the certificate shows, the pieces follow one another, and their product is kept."""
    if stated.nodes != node_records(problem.network):
        raise InvalidCertificate("the certificate's graph is not the one that this version builds from the model")
    ends = [0, *(piece.end for piece in stated.pieces)]
    follow = [piece.start for piece in stated.pieces] == ends[:-1] and ends == sorted(set(ends))
    if not follow or ends[-1] != len(problem.network.nodes) - 1:
        raise InvalidCertificate("the pieces do not lead from the input to the output")
    if _carried(problem, stated) * _product(stated.pieces) > Fraction(stated.bound):
        raise InvalidCertificate("the bound is less than the product of the pieces' constants")


def _in_norms(problem: Problem, stated: Certificate) -> Problem:
    """The problem in the norms that the pieces are in."""
    if stated.through is None:
        return problem
    r, s = _way(stated.through)
    if r != s and len(stated.pieces) > 1:
        raise InvalidCertificate("pieces that follow one another are in one norm for both spaces")
    return problem.in_norms(r, s)


def _way(through: Mapping[str, str]) -> tuple[Norm, Norm]:
    return through["input"], through["output"]  # type: ignore[return-value]


def _carried(problem: Problem, stated: Certificate) -> Fraction:
    """What the pieces' constants are multiplied by to be in the function's norms."""
    if (stated.through is None) != (problem.q is None):
        raise InvalidCertificate("`through` belongs to functions with a norm for each space, and only to them")
    return Fraction(1) if stated.through is None else Fraction(problem.carried(*_way(stated.through)))


def _product(pieces: Sequence[PieceRecord]) -> Fraction:
    product = Fraction(1)
    for piece in pieces:
        product *= Fraction(piece.constant)
    return product


def _checked(problem: Problem, piece: PieceRecord) -> Json:
    """One row of the answer."""
    check, reason = None, None
    try:
        with np.errstate(all="ignore"):
            check = check_piece(problem, piece)
    except (InvalidCertificate, LipschitzError) as error:
        reason = str(error)
    return {
        "kind": piece.kind,
        "start": piece.start,
        "end": piece.end,
        "constant": piece.constant,
        "check": check,
        "reason": reason,
    }
