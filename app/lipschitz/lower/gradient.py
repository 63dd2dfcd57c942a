"""Gradient ascent on the slope of pairs, between a scouting of the domain and a climb by random moves.

With the gradients g_x, g_y of log ||f(x) - f(y)||, the direction of a pair x = m - h v/2, y = m + h v/2 takes a
step of the p-norm power method, v <- argmax <g_y - g_x, v> over the unit ball (for p = 2 and linear f this is
power iteration on A^T A), and the midpoint moves along g_x + g_y. The distance h stays near the spread of the
starting points, where the slope of a ReLU network is smooth enough an average to climb, for most of the steps; the last
ones shrink it to a thousandth, into one linear piece. Where a step is dear, the flatter half of the pairs is left
behind after each third of the steps (successive halving, Jamieson and Talwalkar, AISTATS 2016): who leads by then
seldom changes, and the same work buys more steps.

Small networks are worth more: the ascents start from the best of many scattered points, and what scouting and ascents
found goes on by random moves and along lines until nothing improves. A network for which all scouts would be too much
takes its ascents only: they find more than a few scouts do. With `rounds`, the deep search (`hops.py`) goes on from
there.

How many of each there are follows from the network and the options (`effort.py`), not from a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from ...contract.options import GradientOptions
from ..deadline import SPENT, Deadline, OutOfTime
from ..domain import vector_norm
from ..operators.norm import Norm
from ..problem import Details, Estimate, Problem
from .climb import climbed
from .effort import forward_work, norm_work, step_work, within
from .hops import deepened
from .jacobian import batch_size, steepest, unit
from .pairs import SEARCHING, TINY, Best, ends, safe_slopes
from .search import Population, evaluated, generator, offer_best, scouted, spread_points, unexplored

WIDE = (1.0, 0.2)
"""First and last distance of the pairs that climb, relative to the spread of the starting points."""

NARROW = (0.06, 1e-3)
"""The same for the last steps: the smallest distance is far above the rounding of float64."""

CLIMBING = 5.0 / 6.0
"""Part of the steps at wide distances."""

FAR = 10.0
"""On the whole space half of the pairs begin so much further apart: there other linear pieces are steep."""

FARTHEST = 1e300
"""Spread of pairs, at most."""

CHEAP = 4
"""So many times the asked starting points where points cost so little that all scouts fit."""

STRIDE = 0.7
"""How far a midpoint moves in a step, relative to the distance of its pair."""

STEP_WORK = 24.0
"""Forward evaluations of one point that an ascent's first steps and its witness are worth."""

DEEP_SHARE = 0.9
"""Part of the time that the deep search may take: pairs about what it found are tried afterwards."""

PARTS, DEAR = 3, 4e6
"""Parts of an ascent whose steps are worth so much; from one part to the next half of the pairs go on."""

FEWEST_STEPS = 6
"""Steps of a single ascent, however dear they are."""

EFFORT = 1.5e10
"""Multiplications that a search may be worth."""
SCOUTING_SHARE, ASCENT_SHARE, CLIMBING_SHARE = 0.4, 0.8, 0.5
"""The most of them that its parts may take."""


def gradient(problem: Problem, options: GradientOptions) -> Estimate:
    """The best pair over ascents from up to `restarts` points, `steps` steps each, unless `seconds` are over before.

    `scouts` points are scattered before, and `climbers` move on afterwards, then `rounds` of the deep search.
    """
    deadline = problem.deadline_within(options.seconds, SEARCHING)
    scale, random = options.scale, generator(problem)
    best, steps = Best(problem, "gradient"), options.steps
    if not deadline.fits(STEP_WORK * forward_work(problem.network)):
        return _single_pair(problem, best, scale, random)
    scouts = _scouts(problem, options, scale, deadline, random)
    each = step_work(problem.network)
    parts = PARTS if each > DEAR else 1
    mean = each * sum(0.5**part for part in range(parts)) / parts
    restarts = within(ASCENT_SHARE * EFFORT, steps * mean, options.restarts * (1 if scouts is None else CHEAP))
    steps = within(ASCENT_SHARE * EFFORT, restarts * mean, steps, min(steps, FEWEST_STEPS))
    middle, direction = _starts(problem, scouts, restarts, scale, random)
    middle, direction, done = _ascended(
        problem, best, middle, direction=direction, steps=steps, deadline=deadline, scale=scale, parts=parts
    )
    details: Details = {"restarts": restarts, "steps": done}
    if scouts is not None:
        pairs = scouts.joined(_known(problem, middle, None, deadline)).top(len(scouts))
        pairs = climbed(problem, pairs, CLIMBING_SHARE * EFFORT, deadline=deadline, scale=scale, random=random)
        offer_best(problem, best, pairs, scale=scale, deadline=deadline)
    if options.rounds:
        pairs = _known(problem, middle, direction, deadline) if scouts is None else pairs
        pairs, details["rounds"] = deepened(
            problem, pairs, options.rounds, scale=scale, deadline=deadline.share(DEEP_SHARE), random=random
        )
        offer_best(problem, best, pairs, scale=scale, deadline=deadline)
    witness = best.witness()
    return Estimate("gradient", witness.value, details=details, witness=witness)


def deepen(problem: Problem, options: GradientOptions, before: Estimate) -> Estimate:
    """The deep search alone, from what the method has found before; whichever is better."""
    assert before.witness is not None
    deadline = problem.deadline_within(options.seconds, SEARCHING)
    best, scale, random = Best(problem, "gradient"), options.scale, generator(problem)
    start = torch.lerp(before.witness.x, before.witness.y, 0.5)[None]
    elite = _known(problem, problem.domain.project(start), None, deadline)
    elite, rounds = deepened(
        problem, elite, options.rounds, scale=scale, deadline=deadline.share(DEEP_SHARE), random=random
    )
    offer_best(problem, best, elite, scale=scale, deadline=deadline)
    witness = max(before.witness, best.witness(), key=lambda one: one.value)
    return replace(before, value=witness.value, witness=witness, details=before.details | {"rounds": rounds})


def _known(problem: Problem, points: Tensor, directions: Tensor | None, deadline: Deadline) -> Population:
    """The points with their Jacobian norms, where there is time to find them."""
    try:
        return evaluated(problem, points, directions, deadline)
    except OutOfTime:
        return unexplored(problem, points)


def _scouts(
    problem: Problem, options: GradientOptions, scale: float, deadline: Deadline, random: Generator
) -> Population | None:
    """The best of the scattered points; None where all of them are too much."""
    count = options.scouts
    if not count or count * norm_work(problem.network) > SCOUTING_SHARE * EFFORT:
        return None
    points = spread_points(problem, count, scale, random)
    return scouted(problem, points, deadline, _climbers(problem, options))[0]


def _single_pair(problem: Problem, best: Best, scale: float, random: Generator) -> Estimate:
    """What there is no time to ascend from: one pair."""
    offer_best(
        problem, best, unexplored(problem, spread_points(problem, 1, scale, random)), scale=scale, deadline=SPENT
    )
    witness = best.witness()
    return Estimate("gradient", witness.value, details={"restarts": 0, "steps": 0}, witness=witness)


def _climbers(problem: Problem, options: GradientOptions) -> int:
    """How many points go on by random moves: fewer where points are costly."""
    return max(1, min(options.climbers, batch_size(problem.network) // 8))


def _starts(
    problem: Problem, scouts: Population | None, restarts: int, scale: float, random: Generator
) -> tuple[Tensor, Tensor]:
    """Midpoints and directions, `(restarts, n)`: random ones in turn with the best scouts."""
    size = problem.network.input.size
    middle = problem.domain.sample(restarts, size, scale, random)
    direction = steepest(torch.randn(restarts, size, dtype=torch.float64, generator=random), problem.p)
    if scouts is not None:
        top = scouts.top(restarts // 2)
        middle[1 : 2 * len(top) : 2], direction[1 : 2 * len(top) : 2] = top.points, top.directions
    return middle, direction


def _ascended(
    problem: Problem,
    best: Best,
    middle: Tensor,
    *,
    direction: Tensor,
    steps: int,
    deadline: Deadline,
    scale: float,
    parts: int,
) -> tuple[Tensor, Tensor, int]:
    """Midpoints and directions after up to `steps` steps, and how many were taken; `best` is offered every pair met.

    Half of the pairs go on from each of the `parts` to the next.
    """
    spread, slope, done = _spreads(problem, middle, scale), None, 0
    while done < steps and (done == 0 or not deadline.passed):
        if slope is not None and done * parts // steps > (done - 1) * parts // steps:
            kept = slope.topk((len(slope) + 1) // 2).indices
            middle, direction, spread = middle[kept], direction[kept], spread[kept]
        distance = spread * _distance(done, steps)
        x, y = ends(problem, middle, direction, distance)
        slope, pull_x, pull_y = _pulls(problem.network, x, y, (problem.p, problem.output_norm))
        best.offer(x, y, slope)
        direction = steepest(pull_y - pull_x, problem.p, fallback=direction)
        middle = problem.domain.project(middle + STRIDE * distance * unit(pull_x + pull_y))
        done += 1
    return middle, direction, done


def _spreads(problem: Problem, middle: Tensor, scale: float) -> Tensor:
    """The distance that each pair begins with, `(R, 1)`."""
    spread = min(float(vector_norm(middle - middle.mean(0), problem.p).mean()) or scale, FARTHEST)
    is_far = torch.arange(len(middle), device=middle.device)[:, None] % 4 >= 2
    far = FAR if math.isinf(problem.domain.radius_2(middle.shape[1])) else 1.0
    return spread * torch.where(is_far, far, 1.0).to(torch.float64)


def _distance(step: int, steps: int) -> float:
    """Of the pairs at a step, relative to the spread."""
    wide = max(1, int(CLIMBING * steps))
    first, last = WIDE if step < wide else NARROW
    done, count = (step, wide) if step < wide else (step - wide, steps - wide)
    return float(first * (last / first) ** (done / max(count - 1, 1)))


def _pulls(
    function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, norms: tuple[Norm, Norm]
) -> tuple[Tensor, Tensor, Tensor]:
    """Slope of every pair `(R,)`, and the gradients of log ||f(x) - f(y)|| in x and y, `(R, n)`."""
    both = torch.cat([x, y]).requires_grad_(True)
    value_x, value_y = function(both).split(len(x))
    logarithm = torch.log(vector_norm(value_y - value_x, norms[1]).clamp(min=TINY)).sum()
    (pull,) = torch.autograd.grad(logarithm, both, materialize_grads=True)
    pull = torch.nan_to_num(pull)
    return safe_slopes(x, y, value_x.detach(), value_y.detach(), norms), pull[: len(x)], pull[len(x) :]
