"""Proof that S(rho, t) >= 0 for a plain chain, rounding included, without a matrix of the chain's size.

S = K - C^T C >= 0 says the same as [[K, C^T], [C, I]] >= 0, which is a chain of one block more, most of whose blocks
are diagonal. As in `proof.py` its matrix is scaled, lowered and factorised, here in an order that eliminates diagonal
blocks first (`elimination.py`): S. Rump's theorem (BIT 46 (2006), theorem 2.3) holds for any order, and operations on
zeros that are left out round nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.elimination import Blocks, Reduction, eliminated
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.proof import OUTWARD, SHARES, nearest, powers_of_two
from app.lipschitz.operators.rounding import UNIT, gamma

COARSE_SHARES = (1e-6, 1e-5, 1e-4, 1e-2, 1.0)
"""For large chains: rounding needs about the first, and every attempt takes long."""


def proved_chain(
    chain: PlainChain, rho: Tensor, t: Tensor, inner: tuple[Tensor, Tensor], shares: Sequence[float] = SHARES
) -> tuple[Tensor, Tensor]:
    """(rho, t), `(1,)` and `(1, M)`, as near to the given ones as a proof allows, on the way to the feasible `inner`.

    rho is infinite where not even `inner` can be proved. ||f(x) - f(y)||^2 <= rho ||x - y||^2 is then a theorem.
    """
    return nearest(rho, t, inner, lambda r, s: torch.tensor([is_proved_chain(chain, float(r), s[0])]), shares)


def is_proved_chain(chain: PlainChain, rho: float, t: Tensor) -> bool:
    """Whether S(rho, t) >= 0 and t >= 0 are certain."""
    blocks = _lifted(chain, rho, t)
    scales = [powers_of_two(_diagonal(blocks, k)) for k in range(len(blocks.diagonal))]
    scaled = _scaled(blocks, scales)
    share = gamma(2 * (sum(blocks.widths) + 4))
    if share >= 0.5 or not rho > 0.0 or not bool((t >= 0.0).all()):
        return False
    trace = sum(float(_diagonal(scaled, k).abs().sum()) for k in range(len(scales)))
    longest = max(len(layer.weight) for layer in chain.layers)
    rounding = (longest + 16) * UNIT * 2.0 * _row_sum(chain, t, scaled, scales)
    lowered = OUTWARD * (1.001 * share / (1.0 - share) * trace + rounding + _of_errors(chain, t, scales))
    if not lowered < 1.0:
        return False
    below = Blocks(tuple(d - lowered for d in scaled.diagonal), scaled.dense, scaled.below)
    return Reduction.of(below, eliminated(below.widths, [dense is None for dense in below.dense])) is not None


def _lifted(chain: PlainChain, rho: float, t: Tensor) -> Blocks:
    """The chain's blocks and, behind them, the output's."""
    found = chain.blocks(rho, t)
    ones = chain.output.new_ones(len(chain.output))
    return Blocks((*found.diagonal, ones), (*found.dense, None), (*found.below, chain.output))


def _diagonal(blocks: Blocks, k: int) -> Tensor:
    dense = blocks.dense[k]
    return blocks.diagonal[k] if dense is None else blocks.diagonal[k] + dense.diagonal()


def _scaled(blocks: Blocks, scales: list[Tensor]) -> Blocks:
    diagonal = tuple(d * s * s for d, s in zip(blocks.diagonal, scales, strict=True))
    dense = tuple(None if d is None else d * s[:, None] * s for d, s in zip(blocks.dense, scales, strict=True))
    below = tuple(
        b * after[:, None] * before for b, after, before in zip(blocks.below, scales[1:], scales, strict=False)
    )
    return Blocks(diagonal, dense, below)


def _row_sum(chain: PlainChain, t: Tensor, scaled: Blocks, scales: list[Tensor]) -> float:
    """The largest row sum of the magnitudes that make up the entries: a bound of their matrix's 2-norm."""
    sums = [d.abs() for d in scaled.diagonal]
    for k, below in enumerate(scaled.below):
        sizes = below.abs()
        sums[k] = sums[k] + sizes.sum(0)
        sums[k + 1] = sums[k + 1] + sizes.sum(1)
    for k, (layer, own) in enumerate(zip(chain.layers, chain.of_layers(t), strict=True)):
        if layer.is_curved:
            sizes = layer.weight.abs() * scales[k]
            curved = 2.0 * own * (layer.lower * layer.upper).abs()
            sums[k] = sums[k] + sizes.T @ (curved * sizes.sum(1))
    return max(float(s.max()) for s in sums) * (1.0 + 4.0 * gamma(sum(scaled.widths) + 4))


def _of_errors(chain: PlainChain, t: Tensor, scales: list[Tensor]) -> float:
    """Bound of the change in the scaled matrix when V and C change by the errors of their blocks."""
    change = chain.output_error * float(scales[-2].max() * scales[-1].max())
    parts = zip(chain.layers, chain.of_layers(t), scales, scales[1:], strict=False)
    for layer, own, before, after in parts:
        if layer.error == 0.0:
            continue
        moved = layer.error * float(before.max())
        change += float((own * (layer.lower + layer.upper).abs() * after).max()) * moved
        root = (2.0 * own * (layer.lower * layer.upper).abs()).sqrt()
        bent = float(root.max()) * moved
        curved = float(torch.linalg.matrix_norm(root[:, None] * layer.weight * before))
        change += (2.0 * curved + bent) * bent
    return change
