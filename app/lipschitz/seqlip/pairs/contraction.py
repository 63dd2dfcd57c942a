"""Chains of a network, each replaced by one certified constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...deadline import Deadline, OutOfTime
from ...network.nodes import Node
from ...operators.base import LinearOperator
from ...operators.rounding import up_product
from ...problem import Details, Problem
from .chain import Chain, chains
from .factors import explicit
from .pair import Pair
from .product import PairFactor, Stage, seqlip_product
from .solve import Enclosure

Solve = Callable[[Pair, Deadline], Enclosure]
"""(pair, deadline) -> its enclosure."""
_SIZES = (1e-60, 1e60)
"""Norms and slopes between which no product of a pair can underflow or overflow to any effect."""


@dataclass(frozen=True, eq=False)
class Run:
    """Layers of a chain, the one at `first` and those after it, that SeqLip bounds together by these pairs."""

    first: int
    pairs: tuple[PairFactor, ...]


@dataclass(frozen=True, eq=False)
class Contraction:
    """A chain with its constant; `rows` are its pairs for the report, `runs` what the constant rests on."""

    chain: Chain
    factor: float
    rows: list[Details]
    runs: tuple[Run, ...] = ()


class Clock:
    """Shares the time that is left evenly among the pairs that are left."""

    def __init__(self, deadline: Deadline, pairs: int) -> None:
        self._deadline, self._left = deadline, pairs

    @property
    def deadline(self) -> Deadline:
        """The end of all."""
        return self._deadline

    def share(self) -> Deadline:
        """The next pair's deadline."""
        left = max(self._left, 1)
        self._left -= 1
        return self._deadline.share(1.0 / left)


def contractions(problem: Problem, solve: Solve, deadline: Deadline) -> list[Contraction]:
    """Every chain of the network with its constant on the domain."""
    chains_ = chains(problem.network)
    clock = Clock(deadline, sum(len(chain.activations) for chain in chains_))
    return [_contracted(problem, chain, clock, lambda pair: solve(pair, clock.share())) for chain in chains_]


def _contracted(problem: Problem, chain: Chain, clock: Clock, solve: Callable[[Pair], Enclosure]) -> Contraction:
    """Runs of layers with explicit matrices by SeqLip; the others, and the activations between, by AutoLip."""
    operators = _operators(problem, chain)
    norms = [problem.norm_of(operator).upper for operator in operators]
    share = clock.deadline.share(1.0 / len(norms))
    stages = [_stage(operator, norm, share) for operator, norm in zip(operators, norms, strict=True)]
    slopes = [problem.local.slopes(activation) for activation in chain.activations]
    reaches = [_reach(ends) for ends in slopes]
    parts: list[float] = []
    rows: list[Details] = []
    runs: list[Run] = []
    for first, last in _runs(stages, reaches):
        product = up_product([*norms[first : last + 1], *reaches[first:last]])
        run = [stage for stage in stages[first : last + 1] if stage is not None]
        if len(run) > 1:
            constant, factors = seqlip_product(run, slopes[first:last], solve)
            rows += [_row(chain, first + i, factor) for i, factor in enumerate(factors)]
            if constant < product:
                product = constant
                runs.append(Run(first, tuple(factors)))
        parts += [product, *reaches[last : last + 1]]
    return Contraction(chain, up_product(parts), rows, tuple(runs))


def _operators(problem: Problem, chain: Chain) -> list[LinearOperator]:
    """Columns of the first layer that cannot vary are left out; those of the others have slope 0 before them."""
    first, *others = (layer.term.operator for layer in chain.layers)
    return [problem.local.narrowed(first, chain.source), *others]


def _stage(operator: LinearOperator, norm: float, deadline: Deadline) -> Stage | None:
    """The layer with its matrix; None where that is too large, or its numbers too large or small to multiply."""
    matrix = _matrix(operator, deadline) if _SIZES[0] < norm < _SIZES[1] else None
    return None if matrix is None else Stage(*matrix, norm)


def _matrix(operator: LinearOperator, deadline: Deadline) -> tuple[Tensor, float] | None:
    try:
        return explicit(operator, deadline)
    except OutOfTime:
        return None


def _runs(stages: Sequence[Stage | None], reaches: Sequence[float]) -> list[tuple[int, int]]:
    """First and last positions of the layers that go together; a layer without a matrix goes alone."""
    linked = [
        before is not None and after is not None and _is_moderate(reach)
        for before, after, reach in zip(stages, stages[1:], reaches, strict=False)
    ]
    cuts = [position for position, together in enumerate(linked) if not together]
    return list(zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(stages) - 1], strict=True))


def _is_moderate(reach: float) -> bool:
    return reach == 0.0 or _SIZES[0] < reach < _SIZES[1]


def _reach(slopes: tuple[Tensor, Tensor]) -> float:
    reach = torch.stack(slopes).abs().max()
    return float(reach) if bool(torch.isfinite(reach)) else math.inf


def _row(chain: Chain, position: int, factor: PairFactor) -> Details:
    inner, outer = chain.layers[position].node, chain.layers[position + 1].node
    return {
        "layers": [_name(inner), _name(outer)],
        "activation": _name(chain.activations[position]),
        "width": factor.pair.width,
        "attained": factor.enclosure.attained,
        "certified": factor.enclosure.certified,
        "autolip": factor.autolip,
        "method": factor.enclosure.method,
    }


def _name(node: Node) -> str:
    return "+".join(dict.fromkeys(origin.name for origin in node.origins)) or "identity"
