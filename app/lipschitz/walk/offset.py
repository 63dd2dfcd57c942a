"""How far rounding moves the output, where it counts as noise: the e of ||f(x) - f(y)|| <= L ||x - y|| + e.

The walk's rule, with the noise in place of the input: two values of a node that differ by noise alone are at most
e_k = sum_j ||A_j|| e_j apart, and a rounding step adds the norm of its noise's widths. Proof in docs/decisions/0035.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ..errors import Discontinuous
from ..network.nodes import Activation, Node
from ..network.scalars.rounded import Rounded
from ..operators.norm import Norm
from ..operators.rounding import up_add, up_mul, up_sqrt
from ..problem import Problem
from .walk import combine, walk


def offset(problem: Problem) -> float:
    """e in the output's norm, certified. Discontinuous where a cast to integers may leave their range."""
    q = problem.output_norm
    ours = problem if problem.q is None else problem.in_norms(q, q)
    for node, scalar in rounding_steps(problem):
        _require_range(problem, node, scalar)
    moved: dict[Node, float] = {}
    for step in walk(ours.network, q, lambda operator: ours.norm_of(operator).upper, ours.local):
        ways = [replace(way, contribution=up_mul(way.factor, moved[way.source])) for way in step.branches]
        moved[step.node] = combine(step.node, q, ways)
        if isinstance(step.node, Activation) and isinstance(step.node.scalar, Rounded):
            moved[step.node] = up_add(moved[step.node], _length(step.node.scalar.width, step.node.size, q))
    return moved[ours.network.output]


def rounding_steps(problem: Problem) -> Iterator[tuple[Activation, Rounded]]:
    """The network's nodes that stand for rounding."""
    for node in problem.network.nodes:
        if isinstance(node, Activation) and isinstance(node.scalar, Rounded):
            yield node, node.scalar


def _length(width: float, size: int, q: Norm) -> float:
    """The q-norm of a vector whose entries are all `width`."""
    return up_mul(width, {"1": float(size), "2": up_sqrt(float(size)), "inf": 1.0}[q])


def _require_range(problem: Problem, node: Activation, scalar: Rounded) -> None:
    if scalar.limits is None:
        return
    given, (least, most) = problem.local.intervals[node.source], scalar.limits
    if not bool(torch.all((given.lower >= least) & (given.upper <= most))):
        (origin,) = node.origins
        raise Discontinuous(
            f"{origin.op} at '{origin.name}' casts to integers from {least:.4g} to {most:.4g}, and beyond these it "
            "jumps by more than a step: its argument is not known to stay there; a smaller domain may help"
        )
