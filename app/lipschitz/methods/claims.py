"""What AutoLip's walk and SeqLip's pairs claim about a piece of the network, for its certificate."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from app.lipschitz.certificate.claims import ChainClaim, NormClaim, PairClaim, WalkClaim
from app.lipschitz.certificate.walk import RULED
from app.lipschitz.methods.walk import ways_in
from app.lipschitz.network.nodes import Activation, Node
from app.lipschitz.operators.rounding import up_add
from app.lipschitz.pairs.chain import Chain
from app.lipschitz.pairs.contraction import Contraction, Run
from app.lipschitz.pairs.faces import of_multipliers
from app.lipschitz.pairs.product import PairFactor
from app.lipschitz.problem import Problem


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


def chain_claims(contraction: Contraction) -> list[ChainClaim]:
    """What SeqLip's pairs say about a chain, for every run of layers that they bound together."""
    return [_of_run(contraction.chain, run) for run in contraction.runs if all(map(_is_positive, run.pairs))]


def _of_run(chain: Chain, run: Run) -> ChainClaim:
    last = run.first + len(run.pairs)
    activations = chain.activations[run.first : last]
    pairs = tuple(_pair_claim(*each) for each in zip(activations, run.pairs, strict=True))
    return ChainClaim(chain.layers[run.first].term.source, chain.layers[last].node, activations[-1], pairs)


def _is_positive(factor: PairFactor) -> bool:
    """A pair without slopes has nothing to prove; the walk, too, finds zero there."""
    return factor.enclosure.certified > 0.0


def _pair_claim(activation: Activation, factor: PairFactor) -> PairClaim:
    """With multipliers ||A|| / ||B|| where that product is all that is known."""
    pair, proof = factor.pair, factor.enclosure.proof
    if proof is None or factor.enclosure.certified >= factor.autolip:
        ratio = torch.linalg.matrix_norm(pair.outer, 2) / torch.linalg.matrix_norm(pair.inner, 2)
        proof = of_multipliers(factor.autolip, pair, ratio.expand(pair.width))
    return PairClaim(activation, pair.lower, pair.upper, proof)
