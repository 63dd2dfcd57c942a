"""Rows of a data set for which both models decide alike, on the whole ball about the row or at the row itself.

A decision is the largest output. It is kept where both models provably choose one class at every point, changed where
a point is known at which they provably choose two, and open otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...contract.comparison import DecisionRow, Decisions, Fate
from ..artifact.captured import Origin
from ..bounds.linear import Narrowing
from ..dataset import Dataset
from ..deadline import Deadline
from ..domain import Ball, Box, Domain
from ..network.nodes import Affine, Network, Term
from ..network.propagation import propagate
from ..operators.dense import Dense
from ..operators.norm import Norm
from .difference import Difference

LISTED = 1000
MOST_NUMBERS = 50_000
"""Coordinates of witnesses that are told: a result is a message of bounded length."""
STEPS = 10


def decisions(difference: Difference, rows: Dataset, radius: float | None, p: Norm, deadline: Deadline) -> Decisions:
    """What becomes of every row; those that time does not suffice for are open."""
    decided = [_row(difference, i, x, radius=radius, p=p, deadline=deadline) for i, x in enumerate(rows.inputs)]
    count = {fate: sum(row.decision == fate for row in decided) for fate in ("kept", "changed", "open")}
    return Decisions(**count, radius=radius, rows=_short(decided[:LISTED]))


def _short(rows: list[DecisionRow]) -> list[DecisionRow]:
    """The rows, with as many of their witnesses as may be told."""
    left, kept = MOST_NUMBERS, []
    for row in rows:
        left -= len(row.witness or ())
        kept.append(row if left >= 0 else row.model_copy(update={"witness": None}))
    return kept


def alike(rows: Dataset, radius: float | None) -> Decisions:
    """Those of one function compared with itself: every decision is kept."""
    kept = [DecisionRow(index=i, decision="kept", a=None, b=None) for i in range(min(len(rows), LISTED))]
    return Decisions(kept=len(rows), changed=0, open=0, radius=radius, rows=kept)


def _row(
    difference: Difference, index: int, x: Tensor, *, radius: float | None, p: Norm, deadline: Deadline
) -> DecisionRow:
    if deadline.passed:
        return DecisionRow(index=index, decision="open", a=None, b=None, reason="no time was left")
    a, b = _decided(difference.first, x), _decided(difference.second, x)

    def row(fate: Fate, reason: str | None = None, witness: Tensor | None = None) -> DecisionRow:
        point = None if witness is None else witness.tolist()
        return DecisionRow(index=index, decision=fate, a=a, b=b, reason=reason, witness=point)

    if a is None or b is None:
        return row("open", "two outputs are too close at the row to be told apart")
    if a != b:
        return row("changed")
    if radius is None:
        return row("kept")
    ball = Ball(x, radius, p)
    if all(_stays(network, ball, a, deadline) for network in (difference.first, difference.second)):
        return row("kept")
    for point in _tries(difference, ball, a):
        here = [_decided(network, point) for network in (difference.first, difference.second)]
        if None not in here and here[0] != here[1]:
            return row("changed", "at another point of the ball", point)
    return row("open", "neither is proved on the whole ball")


def _decided(network: Network, x: Tensor) -> int | None:
    """The class that is provably chosen at one point."""
    outputs = propagate(network, Box(x, x))[network.output]
    best = int(outputs.lower.argmax())
    others = torch.arange(len(outputs.lower)) != best
    return best if bool((outputs.lower[best] > outputs.upper[others]).all()) else None


def _stays(network: Network, domain: Domain, chosen: int, deadline: Deadline) -> bool:
    """Whether the class is provably chosen everywhere in the domain."""
    last = network.output
    rows = torch.zeros(last.size - 1, last.size, dtype=torch.float64)
    rows[:, chosen] = 1.0
    others = [i for i in range(last.size) if i != chosen]
    rows[torch.arange(last.size - 1), torch.tensor(others)] = -1.0
    lead = Dense((last.size,), (last.size - 1,), rows)
    margins = Affine((last.size - 1,), (Origin("margins", "Sub"),), (Term(last, lead),), None, 0, "structural")
    judged = Network((*network.nodes, margins))
    with torch.no_grad():
        ranges = Narrowing(judged, domain, propagate(judged, domain), deadline, wanted={margins}).run()
    return bool((ranges[margins].lower > 0).all())


def _tries(difference: Difference, ball: Ball, chosen: int) -> Iterator[Tensor]:
    """Points of the ball on the way to where one model leaves the class and the other need not."""
    for network, other, _step in (
        (difference.second, difference.first, 0.5),
        (difference.first, difference.second, 0.5),
    ):
        x = ball.center[None]
        for _ in range(STEPS):
            with torch.enable_grad():
                point = x.clone().requires_grad_(True)
                lead = _lead(network, point, chosen) - _lead(other, point, chosen)
                (gradient,) = torch.autograd.grad(lead.sum(), point, materialize_grads=True)
            length = torch.linalg.vector_norm(gradient).clamp(min=1e-300)
            direction = gradient.sign() if ball.p == "inf" else gradient / length
            x = ball.project(x - 0.5 * ball.radius * direction)
            yield x[0]


def _lead(network: Network, x: Tensor, chosen: int) -> Tensor:
    outputs = network(x)
    others = torch.arange(outputs.shape[1]) != chosen
    return outputs[:, chosen] - outputs[:, others].amax(1)
