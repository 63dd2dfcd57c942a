"""Sentences about a job, from its request and result in the contract's form."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract.comparison import ComparisonView
from ..contract.domain import Ball, Box, Domain, Logit, Margin, Margins, Target
from ..contract.question import Question
from ..contract.result import ResultView, SensitivitiesView
from . import text
from .norms import norms, sizes

STATUSES: dict[str, tuple[str, str, str]] = {
    "queued": ("Waiting", "cool", "The job waits for a free worker."),
    "running": ("Running", "accent", "The job is being worked on. This page follows it."),
    "canceling": ("Canceling", "cool", "The job is being stopped."),
    "succeeded": ("Done", "good", ""),
    "failed": ("Failed", "bad", "The job ended without a result."),
    "canceled": ("Canceled", "cool", "The job was stopped on request, so it has no result."),
    "timed_out": ("Timed out", "bad", "The job reached a time limit, so it has no result."),
}
"""By status: a word, a colour of the palette, a sentence."""

VERDICTS: dict[str, tuple[str, str, str]] = {
    "pass": ("✓", "good", "Pass"),
    "fail": ("✕", "bad", "Fail"),
    "inconclusive": ("?", "unsure", "Inconclusive"),
}
"""By verdict: a sign, a colour, a word."""

NEARLY_CLOSED = 1.1
"""Ratios below are told as a gap."""


SAME = 1e-9
"""Two bounds that are closer than this, relatively, are told as the same."""


@dataclass(frozen=True)
class Limit:
    """One limit of a gate, and what is known about it."""

    asked: str
    finding: str


def question(request: Question) -> str:
    """What the bound is about."""
    noise = ", rounding as noise" if request.rounding == "noise" else ""
    return f"{_target(request.target)}, {norms(request)}, {_domain(request.domain)}{noise}"


def interval(result: ResultView | None) -> str:
    """The bracket as one inequality about L; empty without bounds."""
    low, high = (None, None) if result is None else result.ends
    if low is None and high is None:
        return ""
    left = "" if low is None else f"{text.lower(low)} ≤ "
    name = "‖f − g‖" if isinstance(result, ComparisonView) else "L"
    bracket = f"{left}{name}" + ("" if high is None else f" ≤ {text.upper(high)}")
    return bracket if isinstance(result, ComparisonView) else f"{bracket}{noise(result)}"


def noise(result: ResultView | None) -> str:
    """What rounding adds, where it counts as noise; empty where it does not."""
    if result is None or result.offset is None:
        return ""
    e = "∞" if result.offset.value is None else text.upper(result.offset.value)
    return f", ‖f(x) − f(y)‖ ≤ L ‖x − y‖ + {e}"


STEP = 0.01
"""Change of the input that a bracket is told by, or the radius of a ball that is smaller."""


def meaning(request: Question, result: ResultView) -> str:
    """The bracket as what a small change of the input does; empty without an upper bound."""
    low, high = result.ends
    if high is None:
        return ""
    radius = request.domain.radius if isinstance(request.domain, Ball) else STEP
    step, units = min(STEP, radius), request.input_scale or request.output_scale
    offset = 0.0 if result.offset is None else result.offset.value
    if offset is None:
        return ""
    reached = "" if low is None or result.offset is not None else f"; a pair reaches {text.lower(step * low, 3)}"
    moved = text.upper(step * high + offset, 3)
    told = f"An input change of {text.number(step)} moves the output by at most {moved}{reached}"
    return f"{told}, {sizes(request)}{' and in the units asked for' if units else ''}."


def signs(sensitivities: SensitivitiesView) -> str:
    """How many derivatives have which sign."""
    names = {"+": "never negative", "-": "never positive", "0": "always zero", "?": "of open sign"}
    told = [f"{count} {names[sign]}" for sign, count in sensitivities.counts.items() if count]
    return f"Of {sum(sensitivities.counts.values())} derivatives {', '.join(told)}."


def direction(index: int, sensitivities: SensitivitiesView) -> str:
    """Whether an input raises or lowers all outputs."""
    told = {"+": "never lowers an output", "-": "never raises an output"}
    signs = set() if sensitivities.sign is None else {row[index] for row in sensitivities.sign}
    if signs == {"0"}:
        return "without effect"
    rest = signs - {"0"}
    return told.get(rest.pop(), "open") if len(rest) == 1 else "open" if signs else ""


def is_clearly_above(value: float, other: float) -> bool:
    """Whether a number is larger by more than two roundings of the same bound may differ."""
    return value > other * (1 + SAME)


def distance(ratio: float | None) -> str:
    """How far the ends of the bracket are from each other."""
    if ratio is None:
        return "open"
    if ratio < NEARLY_CLOSED:
        return f"{text.upper(100 * (ratio - 1), 2)} %"
    return f"× {text.upper(ratio, 3)}"


def _domain(domain: Domain) -> str:
    match domain:
        case Box():
            return f"on the box from {_numbers(domain.lower)} to {_numbers(domain.upper)}"
        case Ball(center=str() as row):
            return f"on the ball of radius {_numbers(domain.radius)} about row {row.partition('#')[2]} of the data set"
        case Ball():
            return f"on the ball of radius {_numbers(domain.radius)} about {_numbers(domain.center)}"
    return "on the whole space"


def _numbers(value: object) -> str:
    if isinstance(value, int | float):
        return text.number(value)
    return f"[{', '.join(map(_numbers, value))}]" if isinstance(value, list) and len(value) <= 4 else "an array"


def _target(target: Target) -> str:
    match target:
        case Logit():
            return f"output {target.index}"
        case Margin():
            return f"output {target.i} minus output {target.j}"
        case Margins():
            return "all differences of two outputs"
    return "all outputs"
