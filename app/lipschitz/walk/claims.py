"""What AutoLip's walk claims about a piece of the network, for its certificate."""

from __future__ import annotations

from collections.abc import Sequence

from ..claims import ChainClaim, NormClaim, WalkClaim
from ..network.nodes import Node
from ..operators.rounding import up_add
from ..problem import Problem
from .walk import RULED, ways_in


def walk_claim(problem: Problem, start: Node, nodes: Sequence[Node], chains: Sequence[ChainClaim] = ()) -> WalkClaim:
    """The norms of the linear maps between `start` and the last of the nodes; `chains` that lie among them go along."""
    inside = {start, *nodes}
    norms: dict[tuple[Node, Node], float] = {}
    for node in nodes:
        if not isinstance(node, RULED):
            continue
        for way in ways_in(node, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local):
            if way.source in inside and (way.operator is not None or way.source not in node.sources):
                key = node, way.source
                norms[key] = up_add(norms.get(key, 0.0), way.factor)
    kept = tuple(chain for chain in chains if chain.start in inside and chain.node in inside)
    return WalkClaim(start, nodes[-1], tuple(NormClaim(*key, value) for key, value in norms.items()), kept)
