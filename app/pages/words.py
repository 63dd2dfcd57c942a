"""Sentences about a job, from its request and result in the contract's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.pages import text

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

NORMS = {"1": "1-norm", "2": "2-norm", "inf": "maximum norm"}
NEARLY_CLOSED = 1.1
"""Ratios below are told as a gap."""


SAME = 1e-9
"""Two bounds that are closer than this, relatively, are told as the same."""


@dataclass(frozen=True)
class Limit:
    """One limit of a gate, and what is known about it."""

    asked: str
    found: str


def question(request: dict[str, Any]) -> str:
    """What the bound is about."""
    norm = NORMS.get(request.get("norm", ""), "norm")
    return f"{_target(request.get('target') or {})}, {norm}, {_domain(request.get('domain') or {})}"


def interval(result: dict[str, Any]) -> str:
    """The bracket as one inequality about L; empty without bounds."""
    low, high = value_of(result, "lower"), value_of(result, "upper")
    if low is None and high is None:
        return ""
    left = "" if low is None else f"{text.lower(low)} ≤ "
    return f"{left}L" + ("" if high is None else f" ≤ {text.upper(high)}")


def value_of(result: dict[str, Any], end: str) -> float | None:
    """The value of `upper` or `lower`, None where there is none."""
    found = (result.get(end) or {}).get("value")
    return None if found is None else float(found)


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


def limits(request: dict[str, Any], result: dict[str, Any]) -> list[Limit]:
    """The limits of the request's gate."""
    gate = request.get("gate") or {}
    found = []
    if gate.get("max_upper") is not None:
        found.append(_upper_limit(gate["max_upper"], result))
    if gate.get("min_certified_share") is not None:
        found.append(_share_limit(gate["min_certified_share"], gate["radius"], result.get("certificates") or []))
    return found


def _upper_limit(limit: float, result: dict[str, Any]) -> Limit:
    asked = f"The constant is at most {text.number(limit)}."
    low, high = value_of(result, "lower"), value_of(result, "upper")
    if high is not None and high <= limit:
        return Limit(asked, f"The certified upper bound is {text.upper(high)}.")
    if low is not None and low > limit:
        return Limit(asked, f"Two inputs attain {text.lower(low)}.")
    return Limit(asked, f"All that is known: {interval(result) or 'nothing'}.")


def _share_limit(share: float, radius: float, samples: list[dict[str, Any]]) -> Limit:
    asked = f"{text.percent(share)} of the samples are rightly predicted and certified up to {text.number(radius)}."
    held = sum(is_right(one) and reach(one) >= radius for one in samples)
    right = sum(map(is_right, samples))
    found = (
        f"{held} of {len(samples)} are ({text.percent(held / max(1, len(samples)))}); {right} are rightly predicted."
    )
    return Limit(asked, found)


def is_right(sample: dict[str, Any]) -> bool:
    """Whether a sample's prediction is its label; a sample without label counts as right."""
    return sample.get("label") in (None, sample.get("prediction"))


def reach(sample: dict[str, Any]) -> float:
    """A sample's radius, infinite where no perturbation changes the prediction."""
    radius = sample.get("radius")
    return float("inf") if radius is None else float(radius)


def _domain(domain: dict[str, Any]) -> str:
    match domain.get("kind"):
        case "box":
            return f"on the box from {_numbers(domain.get('lower'))} to {_numbers(domain.get('upper'))}"
        case "ball":
            center = domain.get("center")
            about = f"row {center.partition('#')[2]} of the data set" if isinstance(center, str) else _numbers(center)
            return f"on the ball of radius {_numbers(domain.get('radius'))} about {about}"
    return "on the whole space"


def _numbers(value: object) -> str:
    if isinstance(value, int | float):
        return text.number(value)
    return f"[{', '.join(map(_numbers, value))}]" if isinstance(value, list) and len(value) <= 4 else "an array"


def _target(target: dict[str, Any]) -> str:
    match target.get("kind"):
        case "logit":
            return f"output {target.get('index')}"
        case "margin":
            return f"output {target.get('i')} minus output {target.get('j')}"
        case "margins":
            return "all differences of two outputs"
    return "all outputs"
