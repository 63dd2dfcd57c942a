"""What AutoLip's walk claims about a piece of the network, for its certificate."""

from __future__ import annotations

from collections.abc import Sequence

from app.lipschitz.certificate.claims import NormClaim, WalkClaim
from app.lipschitz.certificate.walk import RULED
from app.lipschitz.methods.walk import ways_in
from app.lipschitz.network.nodes import Node
from app.lipschitz.operators.rounding import up_add
from app.lipschitz.problem import Problem


def walk_claim(problem: Problem, start: Node, nodes: Sequence[Node]) -> WalkClaim:
    """The norms of the linear maps between `start` and the last of the nodes."""
    inside = {start, *nodes}
    norms: dict[tuple[Node, Node], float] = {}
    for node in nodes:
        if not isinstance(node, RULED):
            continue
        for way in ways_in(node, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local):
            if way.source in inside and (way.operator is not None or way.source not in node.sources):
                key = node, way.source
                norms[key] = up_add(norms.get(key, 0.0), way.factor)
    return WalkClaim(start, nodes[-1], tuple(NormClaim(*key, value) for key, value in norms.items()))
