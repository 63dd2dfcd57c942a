"""Greedy SeqLip as published [VS18, section 5], and the stronger sign ascent: estimates of each pair's maximum.

Both find vertices, so they under-estimate the maximum: SeqLip's bound may be larger, and the result is no bound.
"""

from __future__ import annotations

import torch

from ...contract.options import GreedySeqlipOptions
from ..deadline import Deadline
from ..problem import Estimate, Problem
from .pairs.ascent import ascend, best, starts
from .pairs.greedy import greedy
from .pairs.pair import Pair
from .pairs.solve import Enclosure
from .seqlip import contracted_walk, pair_contractions


def greedy_seqlip(problem: Problem, options: GreedySeqlipOptions) -> Estimate:
    """The estimate by `search`: greedy flips, or sign ascents from `restarts` vertices.

    MethodSkipped for other norms than the 2-norm, and where no two layers make a pair.
    """
    search, restarts = options.search, options.restarts

    def solve(pair: Pair, deadline: Deadline) -> Enclosure:
        if search == "ascent":
            generator = torch.Generator().manual_seed(problem.seed)
            slopes = best(pair, ascend(pair, starts(pair, restarts, generator), deadline=deadline))
        else:
            slopes = greedy(pair, deadline=deadline)
        value = float(pair.values(slopes[None])[0])
        return Enclosure(value, value, search)

    contractions = pair_contractions(problem, solve, options.seconds)
    rows = [{**row, "certified": None} for contraction in contractions for row in contraction.rows]
    return Estimate("greedy_seqlip", contracted_walk(problem, contractions), details={"search": search}, layers=rows)
