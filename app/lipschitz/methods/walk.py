"""AutoLip's walk through a network: one Lipschitz constant a node, from the input to the output.

`L_k = sum_j ||A_j|| L_j` for affine nodes, the slope for activations, the p-norm of the blocks for
concatenations ([VS18] Algorithm 1). All arithmetic on the constants rounds up, so the walk is as certified as
the norms that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

from app.lipschitz.errors import NotGloballyLipschitz
from app.lipschitz.network.nodes import Activation, Affine, Concat, Input, Network, Node, Nonlinear, Term
from app.lipschitz.operators import algebra
from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.norm import Norm
from app.lipschitz.operators.rounding import up_hypot, up_mul, up_sum

OperatorNorm = Callable[[LinearOperator], float]


@dataclass(frozen=True)
class Branch:
    """One way into a node: the constant of the map from `source` (None for a nonlinear node) and its flow."""

    source: Node
    operator: LinearOperator | None
    factor: float
    contribution: float


@dataclass(frozen=True)
class Step:
    """One node of the walk: `cumulative` is its constant L_k, `branches` how it came about."""

    node: Node
    cumulative: float
    branches: tuple[Branch, ...]


def walk(network: Network, p: Norm, norm: OperatorNorm) -> list[Step]:
    """All steps in topological order, the input (constant 1) first and the output last."""
    constants: dict[Node, float] = {}
    steps: list[Step] = []
    for node in network.nodes:
        branches = [
            Branch(source, operator, factor, up_mul(factor, constants[source]))
            for source, operator, factor in node_branches(node, p, norm)
        ]
        constants[node] = 1.0 if isinstance(node, Input) else combine(node, p, branches)
        steps.append(Step(node, constants[node], tuple(branches)))
    return steps


@singledispatch
def node_branches(node: Node, p: Norm, norm: OperatorNorm) -> list[tuple[Node, LinearOperator | None, float]]:
    """The ways into a node with the constant of each."""
    raise NotImplementedError(type(node).__name__)


@node_branches.register
def _(node: Input, p: Norm, norm: OperatorNorm) -> list[tuple[Node, LinearOperator | None, float]]:
    return []


@node_branches.register
def _(node: Affine, p: Norm, norm: OperatorNorm) -> list[tuple[Node, LinearOperator | None, float]]:
    return [(term.source, term.operator, norm(term.operator)) for term in node.terms]


@node_branches.register
def _(node: Concat, p: Norm, norm: OperatorNorm) -> list[tuple[Node, LinearOperator | None, float]]:
    stacked = {source: algebra.stack(blocks) for source, blocks in _blocks_by_source(node.terms).items()}
    return [(source, operator, norm(operator)) for source, operator in stacked.items()]


@node_branches.register
def _(node: Activation, p: Norm, norm: OperatorNorm) -> list[tuple[Node, LinearOperator | None, float]]:
    constant = node.scalar.slope().magnitude
    if math.isinf(constant):
        raise no_global_constant(node)
    return [(node.source, None, constant)]


@node_branches.register
def _(node: Nonlinear, p: Norm, norm: OperatorNorm) -> list[tuple[Node, LinearOperator | None, float]]:
    return [(node.source, None, node.constants[p])]


def no_global_constant(node: Node) -> NotGloballyLipschitz:
    """The refusal of a node that is steep without bound on the whole space."""
    (origin,) = node.origins
    return NotGloballyLipschitz(
        f"{origin.op} at '{origin.name}' has no finite Lipschitz constant on the whole space; "
        "a constant may exist on a bounded domain (box or ball)"
    )


def _blocks_by_source(terms: Sequence[Term]) -> dict[Node, list[LinearOperator]]:
    blocks: dict[Node, list[LinearOperator]] = {}
    for term in terms:
        blocks.setdefault(term.source, []).append(term.operator)
    return blocks


def combine(node: Node, p: Norm, branches: Sequence[Branch]) -> float:
    """A node's constant from its branches': added up, or the p-norm of disjoint blocks."""
    flows = [branch.contribution for branch in branches]
    if not isinstance(node, Concat) or p == "1":
        return up_sum(flows)
    return max(flows) if p == "inf" else up_hypot(flows)


def shares(steps: Sequence[Step], p: Norm) -> list[float | None]:
    """Every step's part of log L: its own log-constant times its weight in the output's; they add up to 1.

    The weight of a node is d log L / d log L_k, found backwards; on a chain all weights are 1.
    """
    total = steps[-1].cumulative
    if not all(0.0 < step.cumulative < math.inf for step in steps) or abs(math.log(total)) < 1e-12:
        return [None] * len(steps)
    weights = {step.node: 0.0 for step in steps} | {steps[-1].node: 1.0}
    parts: dict[Node, float] = {}
    constants = {step.node: step.cumulative for step in steps}
    for step in reversed(steps):
        weight, own = weights[step.node], math.log(step.cumulative)
        for branch, part in zip(step.branches, _flow_parts(step, p), strict=True):
            weights[branch.source] += weight * part
            own -= part * math.log(constants[branch.source])
        parts[step.node] = weight * own / math.log(total)
    return [parts[step.node] for step in steps]


def _flow_parts(step: Step, p: Norm) -> list[float]:
    flows = [branch.contribution for branch in step.branches]
    if isinstance(step.node, Concat) and p == "inf":
        return [1.0 if position == flows.index(max(flows)) else 0.0 for position in range(len(flows))]
    powers = [(flow / max(flows)) ** (2 if isinstance(step.node, Concat) and p == "2" else 1) for flow in flows]
    return [power / sum(powers) for power in powers]
