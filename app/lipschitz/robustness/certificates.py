"""Robustness of a classifier at the rows of a data set: how far an input may move without changing its prediction.

Cheap things first, for all rows at once: their margins over certified constants of the whole domain (`constants`, one
matrix product); then the nearest inputs that an attack finds to change the prediction, which no radius can reach beyond
(`attack`); then linear bounds of the margins on balls and on their parts (`growth`); then constants of balls (`radii`).
What is known when the time is over counts. All norms are the request's; on a bounded domain the statement is about the
inputs in the domain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...contract.question import Gate
from ...contract.result import Verdict
from ..deadline import Deadline
from ..errors import BracketViolation, LipschitzError, MethodSkipped
from ..network.nodes import Network, Nonlinear
from ..problem import Estimate, Problem
from .attack import Fallen, attacked
from .constants import pair_constants
from .growth import grown_linearly, split_further
from .linear import LinearMargins, linear_margins
from .radii import Radii, Samples, grown, radii_of

MOST_ROWS = 10_000
"""Rows of a data set that are certified at most."""
GRACE_S = 1.0
"""Rows are evaluated for so many seconds even when the methods have spent the budget."""
ATTACK_SHARE, LINEAR_SHARE, SPLIT_SHARE = 0.2, 0.6, 0.8
"""Parts of the time left that the attack, the linear bounds and branch and bound may take."""


@dataclass(frozen=True, eq=False)
class Certificates:
    """What is known of a data set of so many rows: of those that were evaluated, in order, their predictions, radii and
    nearest changes of prediction; and what kept others from being given.
    """

    rows: int = 0
    samples: Samples | None = None
    labels: Tensor | None = None
    radii: Radii | None = None
    fallen: Fallen | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def right(self) -> Tensor:
        """Which evaluated rows are rightly predicted, `(S,)`; all of them where there are no labels."""
        if self.samples is None:
            return torch.zeros(0, dtype=torch.bool)
        if self.labels is None:
            return torch.ones_like(self.samples.predicted, dtype=torch.bool)
        return self.labels == self.samples.predicted

    def share(self, radius: float) -> float:
        """Of all rows, those rightly predicted and certified up to a radius."""
        if self.radii is None or not self.rows:
            return 0.0
        return int((self.right & (self.radii.radius >= radius)).sum()) / self.rows

    def ceiling(self, radius: float) -> float:
        """Of all rows, at most so many can be certified up to a radius: the others are wrong or known to fall."""
        if self.radii is None or self.fallen is None or not self.rows:
            return 1.0
        lost = ~self.right | (self.fallen.distance <= radius)
        return 1.0 - int(lost.sum()) / self.rows


def certificates(problem: Problem, estimates: Sequence[Estimate], gate: Gate | None = None) -> Certificates:
    """A radius for every row of the problem's data set, within its time; none, with a warning, for other networks.

    `estimates` are what the methods found, whose constants serve here as well; a gate about a share of the rows ends
    the search once it is decided.
    """
    if problem.dataset is None:
        return Certificates()
    rows, decisive = len(problem.dataset), _without_softmax(problem)
    try:
        _check_classifier(problem)
        constants = pair_constants(decisive, estimates if decisive is problem else [])
    except LipschitzError as refusal:
        return Certificates(rows, warnings=[f"no radii are certified: {refusal.detail}"])
    with torch.no_grad():
        linear = linear_margins(decisive)
        samples, warnings = evaluated(decisive, problem.dataset.inputs, linear)
        radii = radii_of(samples.margins, constants[samples.predicted])
        labels = None if problem.dataset.labels is None else problem.dataset.labels[samples.index]
        begun = Certificates(rows, samples, labels, radii, Fallen.none(samples.points), warnings)
        return _Search(decisive, linear, constants, gate, begun).run()


def share_verdict(certificates: Certificates, share: float, radius: float) -> Verdict:
    """Whether that share of the rows is rightly predicted and certified up to `radius`.

    Fail where too many predictions are wrong, or change within the radius; rows without labels count as right.
    """
    if certificates.rows and certificates.share(radius) >= share:
        return "pass"
    return "fail" if certificates.rows and certificates.ceiling(radius) < share else "inconclusive"


@dataclass(eq=False)
class _Search:
    problem: Problem
    linear: LinearMargins
    constants: Tensor
    gate: Gate | None
    known: Certificates

    def run(self) -> Certificates:
        """One way after another while there is time and the gate is open."""
        samples, now = self.known.samples, self.known.radii
        assert samples is not None
        assert now is not None
        if not len(samples.index) or self._report(now, 0, len(samples.index), "attacking"):
            return self.known
        self._attack(samples)
        self._check()
        if not self._is_decided():
            now = self._grown(grown_linearly, now, LINEAR_SHARE, "certifying")
        if not self._is_decided():
            now = self._grown(split_further, now, SPLIT_SHARE, "splitting")
        if not self._is_decided():
            now = grown(
                self.problem, samples, self.constants, now, lambda radii: self._report(radii, 0, 0, "certifying")
            )
            self.known = replace(self.known, radii=now)
        self._check()
        return self.known

    def _grown(self, grow: Callable[..., Radii], now: Radii, share: float, phase: str) -> Radii:
        assert self.known.fallen is not None
        problem = self._within(share)
        now = grow(
            problem,
            linear_margins(problem),
            self.known.samples,
            now,
            ceiling=self.known.fallen.distance,
            asked=None if self.gate is None else self.gate.radius,
            report=lambda radii, done, of: self._report(radii, done, of, phase),
        )
        self.known = replace(self.known, radii=now)
        return now

    def _attack(self, samples: Samples) -> None:
        problem, total = self._within(ATTACK_SHARE), len(samples.index)

        def report(done: int) -> None:
            problem.progress({"phase": "attacking", "done": done, "total": total})

        fallen = attacked(problem, samples.points, samples.predicted, self.linear.at, report)
        self.known = replace(self.known, fallen=fallen)

    def _within(self, share: float) -> Problem:
        return self.problem.until(self.problem.deadline.share(share))

    def _report(self, radii: Radii, done: int, total: int, phase: str) -> bool:
        self.known = replace(self.known, radii=radii)
        if total:
            self.problem.progress({"phase": phase, "done": done, "total": total, **self._share()})
        return self._is_decided()

    def _share(self) -> dict[str, float]:
        """The share that is certified so far, where a radius was asked for."""
        if self.gate is None or self.gate.radius is None:
            return {}
        return {"certified_share": self.known.share(self.gate.radius)}

    def _is_decided(self) -> bool:
        gate = self.gate
        if gate is None or gate.min_certified_share is None or gate.radius is None:
            return False
        return share_verdict(self.known, gate.min_certified_share, gate.radius) != "inconclusive"

    def _check(self) -> None:
        radii, fallen = self.known.radii, self.known.fallen
        if radii is None or fallen is None:
            return
        if bool(((radii.radius >= fallen.distance) & torch.isfinite(fallen.distance)).any()):
            raise BracketViolation("a prediction changes within its certified radius: a defect of Lipserve")


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


def evaluated(problem: Problem, inputs: Tensor, linear: LinearMargins) -> tuple[Samples, list[str]]:
    """Lower bounds of the margins at the rows in the domain, of as many as time allows."""
    rows = inputs[:MOST_ROWS]
    inside = (problem.domain.project(rows) == rows).all(1).nonzero()[:, 0]
    classes: list[Tensor] = []
    margins: list[Tensor] = []
    deadline = max(problem.deadline, Deadline.after(GRACE_S), key=lambda one: one.end)
    for part in inside.split(linear.batch) if len(inside) else ():
        if deadline.passed:
            break
        classes.append(problem.network(rows[part]).argmax(1))
        margins.append(linear.at(rows[part], classes[-1]))
    done = inside[: sum(map(len, classes))]
    none = rows.new_zeros(0, problem.network.output.size)
    predicted = torch.cat([torch.zeros(0, dtype=torch.int64), *classes])
    samples = Samples(done.tolist(), rows[done], predicted, torch.cat([none, *margins]))
    return samples, _left_out(len(inputs), len(rows), len(inside), len(done))


def _left_out(total: int, allowed: int, inside: int, done: int) -> list[str]:
    """What is said of rows without a radius."""
    counts = {
        f"beyond the first {MOST_ROWS}": total - allowed,
        "outside the domain": allowed - inside,
        "left over when the time budget was spent": inside - done,
    }
    return [f"no radius for {count} rows of the data set: {why}" for why, count in counts.items() if count]
