"""What a gate makes of a bracket: pass when every limit is provably kept, fail when one is broken at a known point."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.question import Gate
from ..contract.result import Verdict, ViolationView
from .bracket import attained_by, value_of
from .jacobian.sensitivities import Sensitivities
from .problem import Estimate
from .robustness.certificates import Certificates, share_verdict


def verdict(
    gate: Gate | None,
    upper: Estimate | None,
    lower: Estimate | None,
    radii: Certificates,
    derivatives: Sequence[Verdict] = (),
) -> Verdict | None:
    """Pass when the gate's every limit is kept, fail when one is broken; None where it has no limit.

    `derivatives` are the verdicts of its limits about single ones.
    """
    if gate is None:
        return None
    verdicts: list[Verdict] = list(derivatives)
    if gate.max_upper is not None:
        verdicts.append(_of_upper(gate.max_upper, upper, lower))
    if gate.max_ratio is not None:
        verdicts.append(_of_ratio(gate.max_ratio, upper, lower))
    if gate.min_certified_share is not None and gate.radius is not None:
        verdicts.append(share_verdict(radii, gate.min_certified_share, gate.radius))
    if gate.max_increase is not None:
        verdicts.append("inconclusive")  # the baseline is not this network's matter: see `baseline`
    if "fail" in verdicts:
        return "fail"
    return "inconclusive" if "inconclusive" in verdicts else "pass"


def of_derivatives(
    gate: Gate | None, sensitivities: Sensitivities | None
) -> list[tuple[Verdict, ViolationView | None]]:
    """Of every limit about single derivatives; inconclusive where none were bounded."""
    if gate is None or not gate.asks_for_sensitivities:
        return []
    return [("inconclusive", None)] if sensitivities is None else list(sensitivities.verdicts(gate))


def _of_upper(limit: float, upper: Estimate | None, lower: Estimate | None) -> Verdict:
    """Pass when the certified upper keeps the limit, fail when the witnessed lower breaks it."""
    if upper and value_of(upper) <= limit:
        return "pass"
    return "fail" if lower and attained_by(lower) > limit else "inconclusive"


def _of_ratio(limit: float, upper: Estimate | None, lower: Estimate | None) -> Verdict:
    """Pass when the bracket is as tight as asked; more time might tighten it, so it is never a failure."""
    is_tight = upper is not None and lower is not None and value_of(upper) <= limit * attained_by(lower)
    return "pass" if is_tight else "inconclusive"
