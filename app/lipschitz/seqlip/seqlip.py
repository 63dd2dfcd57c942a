"""SeqLip with every pair's maximum certified [VS18, section 5], on every chain of any graph.

Layers between which there is no pair take AutoLip's rule, and so does a chain for which that gives less: the
result is never above AutoLip's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ...contract.options import SeqlipOptions
from ..claims import Claim
from ..deadline import Deadline
from ..errors import MethodSkipped
from ..network.nodes import Node
from ..problem import Estimate, Problem
from ..walk.claims import walk_claim
from ..walk.pieces import cuts, joined
from ..walk.walk import RULED, walk
from ..walk.ways import Way
from .claims import chain_claims
from .pairs.contraction import Contraction, Solve, contractions
from .pairs.pair import Pair
from .pairs.solve import Enclosure, enclose_maximum

_SHARE = 0.95
"""Of the time that is left: a certificate takes some."""


def seqlip(problem: Problem, options: SeqlipOptions) -> Estimate:
    """The certified upper bound, each pair enclosed to `gap` or until `seconds` are over.

    MethodSkipped for other norms than the 2-norm, and where no two layers make a pair.
    """
    gap = options.gap

    def solve(pair: Pair, deadline: Deadline) -> Enclosure:
        problem.progress({"method": "seqlip", "phase": f"pair of width {pair.width}"})
        return enclose_maximum(pair, gap, deadline, problem.seed)

    contractions_ = pair_contractions(problem, solve, options.seconds)
    rows = [row for contraction in contractions_ for row in contraction.rows]
    open_pairs = sum(row["certified"] > row["attained"] * (1.0 + gap) for row in rows)
    return Estimate(
        "seqlip",
        contracted_walk(problem, contractions_),
        details={"chains": len(contractions_), "pairs": len(rows), "pairs_not_closed": open_pairs},
        layers=rows,
        claims=_claims(problem, contractions_),
    )


def _claims(problem: Problem, contractions_: Sequence[Contraction]) -> list[Claim]:
    """Piece by piece: nodes that AutoLip's rule covers go together, and any others between two cuts apart."""
    chains = [claim for contraction in contractions_ for claim in chain_claims(contraction)]
    groups = groupby(cuts(problem.network), lambda piece: all(isinstance(node, RULED) for node in piece.nodes))
    pieces = [piece for is_ruled, group in groups for piece in ([joined(list(group))] if is_ruled else group)]
    return [walk_claim(problem, piece.start, piece.nodes, chains) for piece in pieces]


def pair_contractions(problem: Problem, solve: Solve, seconds: float) -> list[Contraction]:
    """Every chain's constant; MethodSkipped where SeqLip does not apply."""
    if problem.p != "2":
        raise MethodSkipped(f"SeqLip bounds the 2-norm, not the {problem.p}-norm: ask for autolip")
    deadline = problem.deadline_within(seconds, _SHARE)
    contractions_ = contractions(problem, solve, deadline)
    if not any(contraction.rows for contraction in contractions_):
        raise MethodSkipped(_no_pairs(contractions_))
    return contractions_


def _no_pairs(contractions_: Sequence[Contraction]) -> str:
    if contractions_:
        return "the layers around every activation are too large for explicit matrices in this time: ask for autolip"
    return "no two affine layers have just one elementwise activation between them: ask for autolip"


def contracted_walk(problem: Problem, contractions_: Sequence[Contraction]) -> float:
    """AutoLip's walk with every chain as one step."""
    shortcuts: dict[Node, Way] = {
        contraction.chain.activations[-1]: Way(contraction.chain.source, None, contraction.factor)
        for contraction in contractions_
    }
    steps = walk(problem.network, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local, shortcuts)
    return steps[-1].cumulative
