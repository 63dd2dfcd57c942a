"""Sentences about a job, from its request and result in the contract's form."""

from __future__ import annotations

from dataclasses import dataclass

from app.contract.comparison import ComparisonView
from app.contract.domain import Ball, Box, Domain, Logit, Margin, Margins, Target
from app.contract.question import Gate, Question
from app.contract.radii import SampleView
from app.contract.result import ResultView, SensitivitiesView
from app.pages import text
from app.pages.norms import norms, sizes

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
    return f"{_target(request.target)}, {norms(request)}, {_domain(request.domain)}"


def interval(result: ResultView | None) -> str:
    """The bracket as one inequality about L; empty without bounds."""
    low, high = (None, None) if result is None else result.ends
    if low is None and high is None:
        return ""
    left = "" if low is None else f"{text.lower(low)} ≤ "
    name = "‖f − g‖" if isinstance(result, ComparisonView) else "L"
    return f"{left}{name}" + ("" if high is None else f" ≤ {text.upper(high)}")


STEP = 0.01
"""Change of the input that a bracket is told by, or the radius of a ball that is smaller."""


def meaning(request: Question, result: ResultView) -> str:
    """The bracket as what a small change of the input does; empty without an upper bound."""
    low, high = result.ends
    if high is None:
        return ""
    radius = request.domain.radius if isinstance(request.domain, Ball) else STEP
    step, units = min(STEP, radius), request.input_scale or request.output_scale
    reached = "" if low is None else f"; a pair reaches {text.lower(step * low, 3)}"
    told = f"An input change of {text.number(step)} moves the output by at most {text.upper(step * high, 3)}{reached}"
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


def limits(gate: Gate | None, result: ResultView) -> list[Limit]:
    """The limits of a request's gate."""
    if gate is None:
        return []
    limits = [] if gate.max_upper is None else [_upper_limit(gate.max_upper, result)]
    if gate.min_certified_share is not None and gate.radius is not None:
        limits.append(_share_limit(gate.min_certified_share, gate.radius, result))
    if gate.max_increase is not None:
        limits.append(_increase_limit(gate.max_increase, result))
    limits += [_monotone_limit(name, direction, result) for name, direction in (gate.monotone or {}).items()]
    limits += [_sensitivity_limit(name, most, result) for name, most in (gate.max_sensitivity or {}).items()]
    return limits + (_of_comparison(gate, result) if isinstance(result, ComparisonView) else [])


def _increase_limit(increase: float, result: ResultView) -> Limit:
    asked = f"The bound is at most {text.number(increase)} times that of the baseline."
    known = result.baseline
    if known is None or known.upper is None or known.limit is None:
        return Limit(asked, "The baseline has no bound.")
    finding = f"Its bound is {text.upper(known.upper)}, so the limit is {text.number(known.limit)}; what is known: "
    return Limit(asked, f"{finding}{interval(result) or 'nothing'}.")


MONOTONE = {"+": "No output falls as {} grows.", "-": "No output rises as {} grows.", "0": "No output depends on {}."}


def _monotone_limit(name: str, direction: str, result: ResultView) -> Limit:
    asked = MONOTONE[direction].format(text.plain(name))
    return Limit(asked, _violation("monotone", name, result) or _known(name, result))


def _sensitivity_limit(name: str, most: float, result: ResultView) -> Limit:
    asked = f"No derivative by {text.plain(name)} is larger than {text.number(most)}."
    return Limit(asked, _violation("max_sensitivity", name, result) or _known(name, result))


def _violation(limit: str, name: str, result: ResultView) -> str:
    """What breaks the limit; empty where nothing that was found does."""
    sensitivities = result.sensitivities
    for one in [] if sensitivities is None else sensitivities.violations:
        if one.limit == limit and one.input == _feature(name, result):
            return f"At one point the derivative of {text.plain(one.output)} is {text.number(one.value)}."
    return ""


def _known(name: str, result: ResultView) -> str:
    """The certified bound of a feature's derivatives."""
    sensitivities = result.sensitivities
    for one in [] if sensitivities is None else sensitivities.ranking:
        if one.name == _feature(name, result) and one.bound is not None:
            signs = _signs(one.index, sensitivities)
            return f"All its derivatives are certified to be at most {text.upper(one.bound)} in size{signs}."
    return "No bound of its derivatives is known."


def _signs(index: int, sensitivities: SensitivitiesView | None) -> str:
    told = {"+": "none negative", "-": "none positive"}
    signs = (
        set()
        if sensitivities is None or sensitivities.sign is None
        else {row[index] for row in sensitivities.sign} - {"0"}
    )
    return f", {told[signs.pop()]}" if len(signs) == 1 and signs <= set(told) else ""


def _feature(name: str, result: ResultView) -> str:
    """A feature's name, where a gate may give its place."""
    names = [] if result.sensitivities is None else result.sensitivities.input_names
    return names[int(name)] if name not in names and name.isdecimal() and int(name) < len(names) else name


def _of_comparison(gate: Gate, result: ComparisonView) -> list[Limit]:
    limits = []
    if gate.max_difference is not None:
        asked = f"The models differ by at most {text.number(gate.max_difference)}."
        limits.append(Limit(asked, f"What is known: {interval(result) or 'nothing'}."))
    if gate.min_kept_share is not None and result.decisions is not None:
        told = result.decisions
        asked = f"{text.percent(gate.min_kept_share)} of the rows keep their decision."
        limits.append(Limit(asked, f"{told.kept} provably do, {told.changed} do not, {told.open} are open."))
    return limits


def _upper_limit(limit: float, result: ResultView) -> Limit:
    asked = f"The constant is at most {text.number(limit)}."
    low, high = result.ends
    if high is not None and high <= limit:
        return Limit(asked, f"The certified upper bound is {text.upper(high)}.")
    if low is not None and low > limit:
        return Limit(asked, f"Two inputs attain {text.lower(low)}.")
    return Limit(asked, f"All that is known: {interval(result) or 'nothing'}.")


def _share_limit(share: float, radius: float, result: ResultView) -> Limit:
    asked = f"{text.percent(share)} of the samples are rightly predicted and certified up to {text.number(radius)}."
    samples, together = result.certificates, result.radii
    if together is None or together.asked is None:
        held, right = sum(is_right(one) and reach(one) >= radius for one in samples), sum(map(is_right, samples))
        of = len(samples)
        return Limit(asked, f"{held} of {of} are ({text.percent(held / max(1, of))}); {right} are rightly predicted.")
    held, of = together.asked.certified, together.rows
    return Limit(
        asked,
        f"{held} of {of} are ({text.percent(held / max(1, of))}); {together.right} are rightly predicted, of which "
        f"{together.asked.fallen} are known to change within it.",
    )


def is_right(sample: SampleView) -> bool:
    """Whether a sample's prediction is its label; a sample without label counts as right."""
    return sample.label in (None, sample.prediction)


def reach(sample: SampleView) -> float:
    """A sample's radius, infinite where no perturbation changes the prediction."""
    return float("inf") if sample.radius is None else sample.radius


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
