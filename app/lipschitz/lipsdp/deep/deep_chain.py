"""A deep chain cut into pieces: each is a LipSDP of its own between quadratic norms given at the cuts.

With matrices M_a at the cuts, piece (a, b] finds the least rho_j for which its multipliers imply
|z_b|^2_{M_b} <= rho_j |z_a|^2_{M_a}; whatever the M_a, the product of all rho_j is feasible for the whole chain.
For the right M_a it is the optimum of the whole: this is the chordal decomposition of a block tridiagonal S.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.plain_chain import Layer, PlainChain
from app.lipschitz.lipsdp.dense.interior import Iterate, minimise
from app.lipschitz.lipsdp.start import closed_form
from app.lipschitz.lipsdp.system import Block, System

_FLOOR = 1e-6
"""Least share of the left form in the metric of a cut: it keeps the metric well conditioned."""


def metrics(chain: PlainChain, rho: float, t: Sequence[Tensor]) -> list[Tensor]:
    """For every layer's output a matrix, of mean diagonal one, between what its left grants and its right asks.

    S(rho, t) is positive definite; t are the layers' multipliers.
    """
    pairs = zip(_granted(chain, rho, t), _asked(chain, rho, t), strict=True)
    return [_between(left, right) for left, right in pairs]


def _granted(chain: PlainChain, rho: float, t: Sequence[Tensor]) -> list[Tensor]:
    """Schur complements from the input on, scaled so that rho is one."""
    inputs = chain.layers[0].weight
    found = [torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)]
    for layer, own in zip(chain.layers, t, strict=True):
        c = layer.coupling(own / rho)
        before = found[-1] + layer.curvature(own / rho)
        found.append(torch.diag(2.0 * own / rho) - c @ torch.linalg.solve(before, c.T))
    return found[1:]


def _asked(chain: PlainChain, rho: float, t: Sequence[Tensor]) -> list[Tensor]:
    """Schur complements from the output on."""
    found = [chain.output.T @ chain.output / rho]
    for layer, own in zip(chain.layers[:0:-1], t[:0:-1], strict=True):
        c = layer.coupling(own / rho)
        after = torch.diag(2.0 * own / rho) - found[-1]
        found.append(c.T @ torch.linalg.solve(after, c) - layer.curvature(own / rho))
    return found[::-1]


def solved(
    chain: PlainChain, cuts: Sequence[int], between: Sequence[Tensor], gap: float, stop: Callable[[], bool]
) -> tuple[float, list[Tensor], int]:
    """rho and the layers' multipliers when every piece between `cuts` is solved to `gap`; iterations at most.

    Pieces of one shape are solved as one batch; `stop` ends every batch early.
    """
    pieces = [_Piece.of(chain, a, b, between) for a, b in pairwise([0, *cuts, len(chain.layers)])]
    solutions: dict[int, tuple[float, Tensor]] = {}
    count = 0
    for shape in dict.fromkeys(piece.shape for piece in pieces):
        same = [j for j, piece in enumerate(pieces) if piece.shape == shape]
        found = _solved([pieces[j] for j in same], gap, stop)
        solutions |= {j: (float(found.rho[i]), found.t[i]) for i, j in enumerate(same)}
        count = max(count, found.iterations)
    rho, t = 1.0, list[Tensor]()
    for j in reversed(range(len(pieces))):
        t[:0] = (rho * solutions[j][1]).split([len(layer.weight) for layer in pieces[j].layers])
        rho *= solutions[j][0]
    return rho, t, count


@dataclass(frozen=True, eq=False)
class _Piece:
    """Layers between two cuts, in coordinates of the metrics."""

    layers: tuple[Layer, ...]
    output: Tensor

    @classmethod
    def of(cls, chain: PlainChain, first: int, last: int, metrics: Sequence[Tensor]) -> _Piece:
        layers, output = list(chain.layers[first:last]), chain.output
        if first > 0:
            weight = layers[0].weight
            root = torch.linalg.cholesky(metrics[first - 1])
            turned = torch.linalg.solve_triangular(root, weight.T, upper=False).T
            layers[0] = Layer(turned, layers[0].lower, layers[0].upper)
        if last < len(chain.layers):
            output = torch.linalg.cholesky(metrics[last - 1]).T
        return cls(tuple(layers), output)

    @property
    def shape(self) -> tuple[int, ...]:
        """Widths, the input's first."""
        return (self.layers[0].weight.shape[1], *(len(layer.weight) for layer in self.layers), len(self.output))


def _solved(pieces: Sequence[_Piece], gap: float, stop: Callable[[], bool]) -> Iterate:
    """Pieces of one shape solved together."""
    inputs, blocks, places, column, row = pieces[0].shape[0], [], [], 0, 0
    for same in zip(*(piece.layers for piece in pieces), strict=True):
        blocks.append(Block(row, column, torch.stack([layer.weight for layer in same])))
        places.append(blocks[-1].rows)
        column, row = inputs + row, places[-1].stop
    output = torch.stack([piece.output for piece in pieces])
    output = torch.cat([output.new_zeros(*output.shape[:2], column), output], 2)
    lower = torch.stack([torch.cat([layer.lower for layer in piece.layers]) for piece in pieces])
    upper = torch.stack([torch.cat([layer.upper for layer in piece.layers]) for piece in pieces])
    system = System(inputs, tuple(blocks), output, lower, upper)
    return minimise(system, *closed_form(system, places), gap=gap, watch=lambda _: stop())


def _between(left: Tensor, right: Tensor) -> Tensor:
    """A positive definite matrix M with right <= M <= left, halfway between `right` and the geometric mean."""
    root = torch.linalg.cholesky(left)
    half = torch.linalg.solve_triangular(root, right, upper=False)
    ratio, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.T, upper=False))
    ratio = ratio.clamp(0.0, 1.0)
    vectors = root @ vectors
    found = (vectors * ((ratio.sqrt() + ratio) / 2.0).clamp(min=_FLOOR)) @ vectors.T
    scaled: Tensor = found / found.diagonal().mean()
    return scaled
