"""A gate against another model: both are asked the same, and the bound may grow by so much and no more.

The limit is `max_increase` times the baseline's certified upper bound, and from there on a limit as any other: kept
when the certified upper bound is within it, broken when two inputs attain more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..contract.result import BaselineView, ResultView, Verdict
from .analysis import Answer, analyze
from .errors import LipschitzError
from .layers import finite
from .problem import Progress
from .request import Request

SHARE = 0.5
"""Of the budget, for the baseline."""
OF_BASELINE = ("baseline", "max_increase")


def analyze_against(
    artifact: bytes,
    baseline: bytes,
    fields: Mapping[str, Any],
    progress: Progress = lambda _: None,
    dataset: bytes | None = None,
    *,
    model_sha256: str = "",
) -> Answer:
    """`analysis.analyze` with the gate's limits on both captured graphs; the result tells the baseline's bracket."""
    request, begun = Request.parse(fields), time.monotonic()
    assert request.gate is not None
    assert request.gate.max_increase is not None
    plain = {**fields, "gate": None, "certify": False, "budget_s": SHARE * request.budget_s}
    known = _bounded(baseline, plain, progress, dataset, request.gate.max_increase)
    left = max(request.budget_s - (time.monotonic() - begun), SHARE * request.budget_s)
    rest = {name: value for name, value in (fields["gate"] or {}).items() if name not in OF_BASELINE}
    own = {name: value for name, value in rest.items() if value is not None} or None
    answer = analyze(artifact, {**fields, "gate": own, "budget_s": left}, progress, dataset, model_sha256)
    verdict = _both(answer.result.verdict, _of_increase(known, answer.result))
    return replace(answer, result=answer.result.model_copy(update={"baseline": known, "verdict": verdict}))


def _bounded(
    baseline: bytes, fields: Mapping[str, Any], progress: Progress, dataset: bytes | None, increase: float
) -> BaselineView:
    try:
        lower, upper = analyze(baseline, fields, progress, dataset).result.ends
    except LipschitzError as refusal:
        return BaselineView(upper=None, lower=None, limit=None, reason=refusal.detail)
    return BaselineView(upper=upper, lower=lower, limit=None if upper is None else finite(increase * upper))


def _of_increase(known: BaselineView, result: ResultView) -> Verdict:
    lower, upper = result.ends
    if known.limit is None:
        return "inconclusive"
    if upper is not None and upper <= known.limit:
        return "pass"
    return "fail" if lower is not None and lower > known.limit else "inconclusive"


def _both(first: Verdict | None, second: Verdict) -> Verdict:
    """The verdict of two limits."""
    verdicts = {first, second}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
