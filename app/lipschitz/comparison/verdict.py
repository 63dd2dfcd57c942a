"""What a gate says of two models: pass when every limit is provably kept, fail when one is broken at a known point."""

from __future__ import annotations

from ...contract.comparison import Decisions, DifferenceView
from ...contract.question import Gate
from ...contract.result import Verdict


def verdict(gate: Gate | None, apart: DifferenceView, decisions: Decisions | None) -> Verdict | None:
    """Pass when every limit is provably kept, fail when one is broken at a point that is known."""
    if gate is None:
        return None
    verdicts: list[Verdict] = []
    if gate.max_difference is not None:
        verdicts.append(_of_difference(gate.max_difference, apart))
    if gate.min_kept_share is not None:
        verdicts.append(_of_share(gate.min_kept_share, decisions))
    if "fail" in verdicts:
        return "fail"
    return "inconclusive" if "inconclusive" in verdicts else "pass"


def _of_difference(limit: float, apart: DifferenceView) -> Verdict:
    if apart.upper is not None and apart.upper.value is not None and apart.upper.value <= limit:
        return "pass"
    lower = apart.lower.value if apart.lower else None
    return "fail" if lower is not None and lower > limit else "inconclusive"


def _of_share(share: float, decisions: Decisions | None) -> Verdict:
    if decisions is None:
        return "inconclusive"
    total = decisions.kept + decisions.changed + decisions.open
    if decisions.kept >= share * total:
        return "pass"
    return "fail" if total - decisions.changed < share * total else "inconclusive"
