"""SeqLip of one chain: the product of its pairs' maxima [VS18, section 5], rounding and factorisation included.

With M_i = P_i Q_i + E_i, ||E_i|| <= e_i, the chain without the E_i is P_K (Q_K D_{K-1} P_{K-1}) ... (Q_2 D_1 P_1) Q_1:

    ||P_K Q_K D_{K-1} ... D_1 P_1 Q_1|| <= ||P_K|| prod_i max ||Q_{i+1} D_i P_i|| ||Q_1||.

Putting the E_i back one layer after the other changes it by at most

    prod_i d_i  sum_i (prod_{j > i} n_j) e_i (prod_{j < i} (n_j + e_j)),    n_j >= ||M_j||,  d_i >= ||D_i||.

Both hold for any factors; the published ones have P_K and Q_1 orthonormal and the roots of the singular values inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...operators.dense_norm import spectral_norm
from ...operators.rounding import up_add, up_mul, up_product, up_sum
from .factors import Factors, first_factors, last_factors, middle_factors
from .pair import Pair
from .solve import Enclosure

Solve = Callable[[Pair], Enclosure]


@dataclass(frozen=True, eq=False)
class Stage:
    """One layer of a chain: its matrix `(m, n)`, ||exact - matrix|| <= error, and ||exact|| <= norm."""

    matrix: Tensor
    error: float
    norm: float


@dataclass(frozen=True)
class PairFactor:
    """One pair's enclosure beside what AutoLip would take for it: ||Q_{i+1}|| d_i ||P_i||."""

    pair: Pair
    enclosure: Enclosure
    autolip: float


def seqlip_product(
    stages: Sequence[Stage], slopes: Sequence[tuple[Tensor, Tensor]], solve: Solve
) -> tuple[float, list[PairFactor]]:
    """The certified constant of at least two stages with slopes (lower, upper) between, and its factors."""
    factors = _factors(stages)
    pair_factors = [
        _pair_factor(Pair(outer.right, inner.left, *ends), solve)
        for inner, outer, ends in zip(factors, factors[1:], slopes, strict=False)
    ]
    ends = [factors[0].isometry, factors[-1].isometry]
    product = up_product([*ends, *(factor.enclosure.certified for factor in pair_factors)])
    return up_add(product, _perturbation(stages, factors, slopes)), pair_factors


def _factors(stages: Sequence[Stage]) -> list[Factors]:
    first, *inside, last = stages
    middle = [middle_factors(stage.matrix, stage.error) for stage in inside]
    return [first_factors(first.matrix, first.error), *middle, last_factors(last.matrix, last.error)]


def _pair_factor(pair: Pair, solve: Solve) -> PairFactor:
    norms = [spectral_norm(matrix.unsqueeze(0)).upper for matrix in (pair.outer, pair.inner)]
    autolip = up_product([*norms, float(pair.reach.max())])
    enclosure = solve(pair)
    return PairFactor(pair, replace(enclosure, certified=min(enclosure.certified, autolip)), autolip)


def _perturbation(
    stages: Sequence[Stage], factors: Sequence[Factors], slopes: Sequence[tuple[Tensor, Tensor]]
) -> float:
    norms, errors = [stage.norm for stage in stages], [factor.error for factor in factors]
    near = [up_add(norm, error) for norm, error in zip(norms, errors, strict=True)]
    terms = [up_product([*near[:i], error, *norms[i + 1 :]]) for i, error in enumerate(errors)]
    reach = [float(max(lower.abs().max(), upper.abs().max())) for lower, upper in slopes]
    return up_mul(up_product(reach), up_sum(terms))
