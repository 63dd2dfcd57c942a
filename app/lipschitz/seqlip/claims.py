"""What SeqLip's pairs claim about a piece of the network, for its certificate."""

from __future__ import annotations

import torch

from ..claims import ChainClaim, PairClaim
from ..network.nodes import Activation
from .pairs.chain import Chain
from .pairs.contraction import Contraction, Run
from .pairs.faces import of_multipliers
from .pairs.product import PairFactor


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
