"""What each step of the walk has to do with the constant."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..network.nodes import Concat, Node
from ..operators.norm import Norm
from .walk import Step


def log_factors(steps: Sequence[Step], p: Norm) -> list[float] | None:
    """Every step's own log-constant times its weight in the output's: they add up to log L. None where L is 0 or inf.

    The weight of a node is d log L / d log L_k, found backwards; on a chain all weights are 1.
    """
    if not all(0.0 < step.cumulative < math.inf for step in steps):
        return None
    weights = {step.node: 0.0 for step in steps} | {steps[-1].node: 1.0}
    parts: dict[Node, float] = {}
    constants = {step.node: step.cumulative for step in steps}
    for step in reversed(steps):
        weight, own = weights[step.node], math.log(step.cumulative)
        for branch, part in zip(step.branches, _flow_parts(step, p), strict=True):
            weights[branch.source] += weight * part
            own -= part * math.log(constants[branch.source])
        parts[step.node] = weight * own
    return [parts[step.node] for step in steps]


def _flow_parts(step: Step, p: Norm) -> list[float]:
    flows = [branch.contribution for branch in step.branches]
    if isinstance(step.node, Concat) and p == "inf":
        return [1.0 if position == flows.index(max(flows)) else 0.0 for position in range(len(flows))]
    powers = [(flow / max(flows)) ** (2 if isinstance(step.node, Concat) and p == "2" else 1) for flow in flows]
    return [power / sum(powers) for power in powers]
