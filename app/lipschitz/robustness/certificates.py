"""Robustness of a classifier at the rows of a data set: how far an input may move without changing its prediction.

A row's radius is its margin over a certified constant of that margin (`methods.radii`). All norms are the request's;
on a bounded domain the statement is about the inputs in the domain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from app.contract.options import LipsdpOptions
from app.contract.result import SampleView, Verdict
from app.lipschitz.bracket import info_of
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Box
from app.lipschitz.errors import LipschitzError, MethodSkipped
from app.lipschitz.lipsdp.margins import SMALL_SIDE, last_piece, lipsdp_margins
from app.lipschitz.lipsdp.sizes import side
from app.lipschitz.network.nodes import Network, Nonlinear
from app.lipschitz.network.propagation import propagate
from app.lipschitz.network.target import MOST_OUTPUTS
from app.lipschitz.operators.rounding import UNIT, up_mul
from app.lipschitz.problem import Estimate, Problem
from app.lipschitz.robustness.radii import Radii, Samples, grown, radii_of
from app.lipschitz.walk.margins import PAIR_LENGTH, uniform, walked

MOST_ROWS = 10_000
"""Rows of a data set that are certified at most."""

GRACE_S = 1.0
"""Rows are evaluated for so many seconds even when the methods have spent the budget."""

LIPSDP_SHARE = 0.5
"""Part of the time left that the constants of all pairs may take."""

GAP = 1e-4
"""Relative gap of these constants to the relaxation's optimum, at most."""


@dataclass(frozen=True)
class Certificates:
    """The contract's `certificates` for a data set of so many rows, and what kept others from being given."""

    rows: int = 0
    records: list[SampleView] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def certificates(problem: Problem, estimates: Sequence[Estimate]) -> Certificates:
    """A radius for every row of the problem's data set, within its time; none, with a warning, for other networks.

    `estimates` are what the methods found, whose constants serve here as well.
    """
    if problem.dataset is None:
        return Certificates()
    rows, decisive = len(problem.dataset), _without_softmax(problem)
    try:
        _check_classifier(problem)
        constants = pair_constants(decisive, estimates if decisive is problem else [])
    except LipschitzError as refusal:
        return Certificates(rows, warnings=[f"no radii are certified: {refusal.detail}"])
    samples, warnings = evaluated(decisive, problem.dataset.inputs)
    radii = grown(decisive, samples, constants, radii_of(samples.margins, constants[samples.predicted]))
    return Certificates(rows, _records(problem.dataset, samples, radii), warnings)


def share_verdict(certificates: Certificates, share: float, radius: float) -> Verdict:
    """Whether that share of the rows is rightly predicted and certified up to `radius`.

    Fail where too many predictions are wrong; rows without labels count as rightly predicted.
    """
    right = [one for one in certificates.records if one.label in (None, one.prediction)]
    wrong = len(certificates.records) - len(right)
    certified = sum(one.radius is None or one.radius >= radius for one in right)
    if certificates.rows and certified / certificates.rows >= share:
        return "pass"
    return "fail" if certificates.rows and (certificates.rows - wrong) / certificates.rows < share else "inconclusive"


def _check_classifier(problem: Problem) -> None:
    """MethodSkipped where the network cannot be read as a classifier."""
    shapes = [torch.Size(spec.shape) for spec in problem.captured.outputs]
    size = problem.network.output.size
    if size < 2:
        raise MethodSkipped("a classifier has at least two outputs, and all of them must be the target")
    if not any(size == shape.numel() == max(shape) for shape in shapes):
        raise MethodSkipped("the classes must be the entries of one output, for one input at a time")


def _without_softmax(problem: Problem) -> Problem:
    """A softmax of all outputs changes no prediction, and its argument has the clearer margins."""
    last = problem.network.output
    if isinstance(last, Nonlinear) and last.simplex == last.size:
        nodes = problem.network.nodes
        if nodes[-2] is last.source:
            return replace(problem, network=Network(nodes[:-1]))
    return problem


def pair_constants(problem: Problem, estimates: Sequence[Estimate]) -> Tensor:
    """The least certified constants of f_i - f_j at hand, `(m, m)`; LipSDP is asked where it answers quickly."""
    size = problem.network.output.size
    whole = uniform(size, up_mul(PAIR_LENGTH[problem.p], _least_upper(estimates)))
    of_pairs = [one for one in estimates if isinstance(one.details.get("pairs"), list)]
    known = [_as_matrix(estimate, size) for estimate in of_pairs]
    has_lipsdp = any(estimate.method == "lipsdp" for estimate in of_pairs)
    if not has_lipsdp and problem.deadline.left and size <= MOST_OUTPUTS and _is_quick(problem):
        known += _by_lipsdp(problem)
    return torch.stack([walked(problem), whole, *known]).amin(0)


def _is_quick(problem: Problem) -> bool:
    """Whether LipSDP takes a second or two."""
    return side(last_piece(problem, 0), problem.local) <= SMALL_SIDE


def _least_upper(estimates: Sequence[Estimate]) -> float:
    """The least certified constant of all outputs together."""
    uppers = [e.value for e in estimates if e.value is not None and info_of(e.method).kind == "upper"]
    return min(uppers, default=math.inf)


def _by_lipsdp(problem: Problem) -> list[Tensor]:
    options = LipsdpOptions().model_copy(update={"gap": GAP, "seconds": LIPSDP_SHARE * problem.deadline.left})
    try:
        return [_as_matrix(lipsdp_margins(problem, options), problem.network.output.size)]
    except MethodSkipped:
        return []


def _as_matrix(estimate: Estimate, size: int) -> Tensor:
    constants = torch.zeros(size, size, dtype=torch.float64)
    for i, j, constant in estimate.details["pairs"]:
        constants[i, j] = constants[j, i] = math.inf if constant is None else constant
    return constants


def evaluated(problem: Problem, inputs: Tensor) -> tuple[Samples, list[str]]:
    """Enclosures of the outputs at the rows in the domain, as many as time allows, turned into margins."""
    rows = inputs[:MOST_ROWS]
    inside = (problem.domain.project(rows) == rows).all(1).nonzero()[:, 0].tolist()
    index: list[int] = []
    outputs: list[tuple[int, Tensor]] = []
    deadline = max(problem.deadline, Deadline.after(GRACE_S), key=lambda one: one.end)
    for row in inside:
        if deadline.passed:
            break
        index.append(row)
        outputs.append(_margins(problem.network, rows[row]))
    predicted = torch.tensor([one for one, _ in outputs], dtype=torch.int64)
    none = rows.new_zeros(0, problem.network.output.size)
    margins = torch.stack([lead for _, lead in outputs]) if outputs else none
    samples = Samples(index, rows[index], predicted, margins)
    return samples, _left_out(len(inputs), len(rows), len(inside), len(index))


def _left_out(total: int, allowed: int, inside: int, done: int) -> list[str]:
    """What is said of rows without a radius."""
    counts = {
        f"beyond the first {MOST_ROWS}": total - allowed,
        "outside the domain": allowed - inside,
        "left over when the time budget was spent": inside - done,
    }
    return [f"no radius for {count} rows of the data set: {why}" for why, count in counts.items() if count]


def _margins(network: Network, point: Tensor) -> tuple[int, Tensor]:
    """The predicted class and lower bounds of its lead over the others, `(m,)`."""
    output = propagate(network, Box(point, point))[network.output]
    predicted = int(network(point[None])[0].argmax())
    lead = output.lower[predicted] - output.upper
    lead = lead - 2.0 * UNIT * (output.lower[predicted].abs() + output.upper.abs())
    lead = torch.nan_to_num(lead, nan=-math.inf, neginf=-math.inf)
    lead[predicted] = math.inf
    return predicted, lead


def _records(dataset: Dataset, samples: Samples, radii: Radii) -> list[SampleView]:
    """One entry of `certificates` a row; the radius says nothing of whether the prediction is right."""
    labels = dataset.labels
    return [
        SampleView(
            index=index,
            label=None if labels is None else int(labels[index]),
            prediction=predicted,
            radius=radius if math.isfinite(radius) else None,
            reason=None if math.isfinite(radius) else "no perturbation changes the prediction",
            against=against,
            method="local" if is_local else "global",
        )
        for index, predicted, radius, against, is_local in zip(
            samples.index, samples.predicted.tolist(), *radii.lists(), strict=True
        )
    ]
