"""The nearest inputs that change a prediction, as far as a search finds them: the ceiling of what can be certified.

Decoupled direction and norm (Rony et al., CVPR 2019), in any of the three norms: a step along the steepest descent of
the margin, then the point is put at a distance from its row that shrinks where the prediction has changed and grows
where it has not. Only a point whose changed prediction is proved, rounding included, counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..domain import vector_norm
from ..lower.jacobian import steepest
from ..network.nodes import Network
from ..problem import Problem

STEPS = 60
CHANGE = 0.08
"""How much the distance shrinks or grows in the first step; in the last a tenth of it."""
BATCH = 512
OUTWARD = 1.0 + 2.0**-30

Margins = Callable[[Tensor, Tensor], Tensor]
"""Points `(S, n)` and classes `(S,)` -> proved lower bounds of the lead of the class over each other, `(S, m)`."""


@dataclass(eq=False)
class Fallen:
    """Of every row the distance to the nearest input found that changes its prediction, `(S,)`, infinite without one;
    that input, `(S, n)`; and the class that is predicted there, `(S,)`.
    """

    distance: Tensor
    points: Tensor
    prediction: Tensor

    @classmethod
    def none(cls, points: Tensor) -> Fallen:
        """Nothing was found yet."""
        count = len(points)
        far = torch.full((count,), math.inf, dtype=torch.float64)
        return cls(far, points.clone(), torch.full((count,), -1, dtype=torch.int64))


def attacked(
    problem: Problem, points: Tensor, predicted: Tensor, proved: Margins, report: Callable[[int], None]
) -> Fallen:
    """The nearest changes of prediction about `points` `(S, n)` of classes `predicted` that time allows to find."""
    fallen = Fallen.none(points)
    for rows in torch.arange(len(points)).split(BATCH):
        if problem.deadline.passed:
            break
        report(int(rows[0]))
        near = _nearest(problem, points[rows], predicted[rows])
        _keep_proved(problem, fallen, rows, near, predicted=predicted[rows], proved=proved)
    return fallen


def _keep_proved(
    problem: Problem, fallen: Fallen, rows: Tensor, near: Tensor, *, predicted: Tensor, proved: Margins
) -> None:
    other = problem.network(near).scatter(1, predicted[:, None], -math.inf).argmax(1)
    lead = proved(near, other).gather(1, predicted[:, None])[:, 0]
    distance = vector_norm(near - fallen.points[rows], problem.p) * OUTWARD
    changed = (lead > 0.0) & (distance > 0.0) & torch.isfinite(distance)
    fallen.distance[rows[changed]] = distance[changed]
    fallen.prediction[rows[changed]] = other[changed]
    fallen.points[rows[changed]] = near[changed]


def _nearest(problem: Problem, points: Tensor, predicted: Tensor) -> Tensor:
    """The nearest point of another class for each row; the row itself where none was met."""
    network, p = problem.network, problem.p
    best, least = points.clone(), torch.full((len(points),), math.inf, dtype=torch.float64)
    now, reach = points, torch.zeros(len(points), dtype=torch.float64)
    for step in range(STEPS + 1):
        margin, pull = margin_and_pull(network, now, predicted)
        length = vector_norm(now - points, p)
        nearer = (margin < 0.0) & (length < least)
        best, least = torch.where(nearer[:, None], now, best), torch.where(nearer, length, least)
        if step == STEPS or problem.deadline.passed:
            break
        direction = steepest(-pull, p)
        if step == 0:
            fall = (pull * -direction).sum(1).clamp(min=1e-300)
            reach = (1.5 * margin / fall).clamp(max=1e150)
        rate = 0.5 * (1.0 + math.cos(math.pi * step / STEPS))
        change = CHANGE * (0.1 + 0.9 * rate)
        reach = torch.where(margin < 0.0, torch.minimum(reach, least) * (1.0 - change), reach * (1.0 + change))
        now = _moved(points, now, (0.02 + 0.98 * rate) * reach[:, None] * direction, reach, problem)
    return best


def _moved(points: Tensor, now: Tensor, step: Tensor, reach: Tensor, problem: Problem) -> Tensor:
    """The point after a step, at distance `reach` from its row; within it in the maximum norm."""
    away, p = now + step - points, problem.p
    if p == "inf":
        away = torch.minimum(torch.maximum(away, -reach[:, None]), reach[:, None])
    else:
        away = away * (reach / vector_norm(away, p).clamp(min=1e-300))[:, None]
    return problem.domain.project(points + away)


def margin_and_pull(network: Network, points: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The lead of the predicted class over the next one, `(S,)`, and its gradient, `(S, n)`."""
    with torch.enable_grad():
        x = points.detach().requires_grad_(True)
        values = network(x)
        rest = values.scatter(1, predicted[:, None], -math.inf).amax(1)
        margin = values.gather(1, predicted[:, None])[:, 0] - rest
        (pull,) = torch.autograd.grad(margin.sum(), x, materialize_grads=True)
    return margin.detach(), torch.nan_to_num(pull)
