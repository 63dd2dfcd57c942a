"""The limits of a gate in words, and what is known about each."""

from __future__ import annotations

from ..contract.comparison import ComparisonView
from ..contract.question import Gate
from ..contract.radii import SampleView
from ..contract.result import ResultView, SensitivitiesView
from . import text
from .words import Limit, interval


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
    words = {"+": "none negative", "-": "none positive"}
    signs = (
        set()
        if sensitivities is None or sensitivities.sign is None
        else {row[index] for row in sensitivities.sign} - {"0"}
    )
    return f", {words[signs.pop()]}" if len(signs) == 1 and signs <= set(words) else ""


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
        decisions = result.decisions
        asked = f"{text.percent(gate.min_kept_share)} of the rows keep their decision."
        limits.append(
            Limit(asked, f"{decisions.kept} provably do, {decisions.changed} do not, {decisions.open} are open.")
        )
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
