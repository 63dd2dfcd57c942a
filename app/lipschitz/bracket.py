"""The bracket among the methods' answers: the least certified bound, and the largest slope that a pair attains."""

from __future__ import annotations

import math
from dataclasses import replace

from ..contract.methods import MethodInfo, method_named
from .errors import BracketViolation
from .problem import Estimate


def bracket(estimates: list[Estimate]) -> tuple[Estimate | None, Estimate | None]:
    """The least certified upper bound and the largest witness, which an upper method may have too.

    BracketViolation if they cross by more than the witness's own error bar (see `reconciled`).
    """
    answers = [estimate for estimate in estimates if estimate.value is not None]
    uppers = [e for e in answers if info_of(e.method).kind == "upper" and math.isfinite(value_of(e))]
    upper = min(uppers, key=value_of, default=None)
    lower = max((e for e in answers if e.witness is not None), key=attained_by, default=None)
    if upper and lower and attained_by(lower) - _error(lower) > value_of(upper):
        raise BracketViolation(
            f"{lower.method} attains {attained_by(lower)!r}, above the certified {upper.value!r} of {upper.method}: "
            "a defect of Lipserve; no result is given, please report the model"
        )
    return upper, lower


def reconciled(estimates: list[Estimate]) -> list[Estimate]:
    """The same answers, no witness above the least certified bound that its error bar reaches: such a one is cut to
    that bound, with the reason. A certified bound is never given up for a lower one that is not sharp enough.
    """
    least = min((value_of(e) for e in estimates if info_of(e.method).kind == "upper"), default=math.inf)
    return [_cut(estimate, least) for estimate in estimates]


def _cut(estimate: Estimate, upper: float) -> Estimate:
    witness = estimate.witness
    if witness is None or not witness.value - witness.error <= upper < witness.value:
        return estimate
    reason = (
        f"the pair attains {witness.value!r} only to within {witness.error!r}, which reaches below the certified "
        f"{upper!r}: it counts as that much"
    )
    value = upper if info_of(estimate.method).kind == "lower" else estimate.value
    return replace(estimate, value=value, reason=reason, witness=replace(witness, value=upper))


def value_of(estimate: Estimate) -> float:
    """The bound, infinite where there is none."""
    return math.inf if estimate.value is None else estimate.value


def attained_by(estimate: Estimate) -> float:
    """What its pair of points attains, 0 where there is none."""
    return 0.0 if estimate.witness is None else estimate.witness.value


def _error(estimate: Estimate) -> float:
    return 0.0 if estimate.witness is None else estimate.witness.error


def info_of(name: str) -> MethodInfo:
    """The method's entry of the catalog."""
    method = method_named(name)
    assert method is not None
    return method
