"""AutoLip's walk as a table of layers, for people and for the contract."""

from __future__ import annotations

import math

from ..contract.result import LayerView, NormView
from .errors import NotGloballyLipschitz
from .network.nodes import Activation, Affine, Concat, Node, Nonlinear
from .operators.norm import NormBound
from .problem import Problem
from .walk.shares import log_factors
from .walk.walk import Step, walk

STRUCTURAL = frozenset(
    {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Cast", "Concat", "Add", "view"}
)
ROUNDING = 1e-12
"""A layer whose factor is so close to 1 has no share: what is left is rounding, which tells nothing of the layer."""
LARGEST = math.log(1e308)


def finite(value: float | None) -> float | None:
    """A number as JSON can carry it: None for infinity and NaN."""
    return value if value is not None and math.isfinite(value) else None


def layer_table(problem: Problem) -> list[LayerView]:
    """AutoLip's walk, one row a step; the norms were computed before and come from the problem's store.

    `sources` are the indices of the rows that a row reads, -1 for the network's input.
    Empty where a node has no finite constant on the domain: lower bounds may still be asked for.
    """
    try:
        steps = walk(problem.network, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local)
    except NotGloballyLipschitz:
        return []
    logs = log_factors(steps, problem.p)
    parts = _parts(len(steps) - 1, logs and logs[1:])
    position = {step.node: index - 1 for index, step in enumerate(steps)}
    cumulative = {step.node: step.cumulative for step in steps}
    rows = [_row(problem, step, position, cumulative) for step in steps[1:]]
    return [row.model_copy(update=part) for row, part in zip(rows, parts, strict=True)]


def _parts(number: int, logs: list[float] | None) -> list[dict[str, float | None]]:
    """Each layer's `factor`, which multiply to the bound, and its `share` of the sum of their |log|."""
    if logs is None:
        return [{"factor": None, "share": None}] * number
    sizes = [abs(log) if abs(log) > ROUNDING else 0.0 for log in logs]
    total = math.fsum(sizes) or 1.0
    factors = [math.exp(log) if log < LARGEST else None for log in logs]
    return [{"factor": factor, "share": size / total} for factor, size in zip(factors, sizes, strict=True)]


def _row(problem: Problem, step: Step, position: dict[Node, int], cumulative: dict[Node, float]) -> LayerView:
    node = step.node
    bounds = [problem.norm_of(branch.operator) for branch in step.branches if branch.operator is not None]
    incoming = max(cumulative[branch.source] for branch in step.branches)
    constant = step.branches[0].factor if len(step.branches) == 1 else step.cumulative / (incoming or 1.0)
    return LayerView(
        index=position[node],
        name=_name(node),
        op="+".join(dict.fromkeys(origin.op for origin in node.origins)) or "Identity",
        kind=_kind(node),
        input_shape=list(step.branches[0].source.shape),
        output_shape=list(node.shape),
        parameters=node.parameters if isinstance(node, Affine | Concat) else 0,
        norm=_norm(bounds[0]) if len(bounds) == 1 else None,
        branches=[_norm(bound) for bound in bounds] if len(bounds) > 1 else [],
        slope=_slope(problem, node),
        lipschitz=finite(constant),
        cumulative=finite(step.cumulative),
        factor=None,
        share=None,
        sources=sorted({position[branch.source] for branch in step.branches}),
    )


def _slope(problem: Problem, node: Node) -> list[float] | None:
    if not isinstance(node, Activation):
        return None
    slope = problem.local.slope(node)
    return [slope.lower, slope.upper]


def _norm(bound: NormBound) -> NormView:
    return NormView(upper=finite(bound.upper), lower=finite(bound.lower), method=bound.method)


def _kind(node: Node) -> str:
    if isinstance(node, Affine | Nonlinear):
        return node.kind
    return "activation" if isinstance(node, Activation) else "merge"


def _name(node: Node) -> str:
    weighty = [origin.name for origin in node.origins if origin.op not in STRUCTURAL]
    names = weighty or [origin.name for origin in node.origins]
    return "+".join(dict.fromkeys(names)) or "identity"
