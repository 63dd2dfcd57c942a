"""A plain chain: layers one behind the other and nothing else. S is block tridiagonal then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.elimination import Blocks
from app.lipschitz.lipsdp.deep.tridiagonal import Tridiagonal
from app.lipschitz.lipsdp.system import System

_REGULAR = 1e-12
"""Added to a Gram matrix that may be singular, relative: a bound's tenth digit."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Neurons with slopes `lower`, `upper` `(r,)` behind a `weight` `(r, c)`, off by `error` in the 2-norm."""

    weight: Tensor
    lower: Tensor
    upper: Tensor
    error: float = 0.0

    @cached_property
    def is_curved(self) -> bool:
        """Whether the constraint holds products of two of its pre-activations."""
        return bool((self.lower * self.upper).any())

    def coupling(self, t: Tensor) -> Tensor:
        """Minus the entries of S between z and what the layer reads."""
        return (t * (self.lower + self.upper))[:, None] * self.weight

    def curvature(self, t: Tensor) -> Tensor:
        """What the layer adds to S for what it reads."""
        return self.weight.T @ ((2.0 * t * self.lower * self.upper)[:, None] * self.weight)


@dataclass(frozen=True, eq=False)
class PlainChain:
    """Layers one behind the other and the output map, `(p, r)`, off by `output_error`."""

    layers: tuple[Layer, ...]
    output: Tensor
    output_error: float = 0.0

    @classmethod
    def of(cls, system: System, places: Sequence[slice]) -> PlainChain | None:
        """The chain that the system is, `places` being its layers' neurons; None where it is something else."""
        starts = [0, *(system.inputs + place.start for place in places)]
        widths = [system.inputs, *(place.stop - place.start for place in places)]
        expected = [(place, slice(a, a + n)) for place, a, n in zip(places, starts, widths, strict=False)]
        plain = system.batch == 1 and all(b.matrix.ndim == 2 for b in system.blocks)
        if not plain or [(b.rows, b.columns) for b in system.blocks] != expected or system.output.ndim == 3:
            return None
        if bool(system.output[:, : starts[-1]].any()):
            return None
        lower, upper = (ends[0].split(widths[1:]) for ends in (system.lower, system.upper))
        layers = (Layer(b.matrix, low, high, b.error) for b, low, high in zip(system.blocks, lower, upper, strict=True))
        return cls(tuple(layers), system.output[:, starts[-1] :], system.output_error)

    @property
    def widths(self) -> list[int]:
        """Variables of the input and of every layer."""
        reading = self.layers[0].weight if self.layers else self.output
        return [reading.shape[1], *(len(layer.weight) for layer in self.layers)]

    def of_layers(self, t: Tensor) -> list[Tensor]:
        """Every layer's part of `(M,)`."""
        return list(t.split(self.widths[1:])) if self.layers else []

    @cached_property
    def slopes(self) -> tuple[Tensor, Tensor]:
        """The ends of all neurons' slopes, `(M,)` each."""
        return torch.cat([layer.lower for layer in self.layers]), torch.cat([layer.upper for layer in self.layers])

    def step(self, rho: float, t: Tensor) -> Tridiagonal:
        """S(rho, t) + C^T C: linear in (rho, t), t `(M,)`."""
        each = self.of_layers(t)
        inputs = self.layers[0].weight
        diagonal = [rho * torch.eye(inputs.shape[1], dtype=t.dtype, device=t.device)]
        for layer, own in zip(self.layers, each, strict=True):
            if layer.is_curved:
                diagonal[-1] = diagonal[-1] + layer.curvature(own)
            diagonal.append(torch.diag(2.0 * own))
        below = tuple(-layer.coupling(own) for layer, own in zip(self.layers, each, strict=True))
        return Tridiagonal(tuple(diagonal), below)

    def blocks(self, rho: float, t: Tensor) -> Blocks:
        """S(rho, t) + C^T C, diagonal blocks told from dense ones."""
        each = self.of_layers(t)
        dense = [
            layer.curvature(own) if layer.is_curved else None for layer, own in zip(self.layers, each, strict=True)
        ]
        below = tuple(-layer.coupling(own) for layer, own in zip(self.layers, each, strict=True))
        inputs = t.new_full((self.widths[0],), rho)
        return Blocks((inputs, *(2.0 * own for own in each)), (*dense, None), below)

    def first(self, count: int) -> PlainChain:
        """The chain up to its first layers; the layer after them, of whatever slopes, maps to its output."""
        return PlainChain(self.layers[:count], self.layers[count].weight)

    def narrowed(self) -> PlainChain:
        """With an input that is wider than what reads it turned into fewer coordinates: the same but for rounding."""
        first = self.layers[0]
        if first.weight.shape[1] <= len(first.weight):
            return self
        gram = first.weight @ first.weight.T
        gram.diagonal().add_(_REGULAR * gram.diagonal().max())
        factor, info = torch.linalg.cholesky_ex(gram)
        if int(info) != 0:
            return self
        return replace(self, layers=(replace(first, weight=factor), *self.layers[1:]))

    @cached_property
    def cost(self) -> Tensor:
        """C^T C, of the last layer's outputs."""
        return self.output.T @ self.output

    def slack(self, rho: float, t: Tensor) -> Tridiagonal:
        """S(rho, t)."""
        found = self.step(rho, t)
        return Tridiagonal((*found.diagonal[:-1], found.diagonal[-1] - self.cost), found.below)

    def against_constraints(self, d: Tridiagonal) -> tuple[float, Tensor]:
        """<E_x, D>, and <A_i, D> of all neurons, `(M,)`; blocks (k, k) that no layer bends may be diagonals."""
        each = []
        for layer, before, after, below in zip(self.layers, d.diagonal, d.diagonal[1:], d.below, strict=False):
            cross = (layer.weight * below).sum(1)
            each.append(_diagonal(after) - (layer.lower + layer.upper) * cross)
            if layer.is_curved:
                squares = ((layer.weight @ before) * layer.weight).sum(1)
                each[-1] = each[-1] + layer.lower * layer.upper * squares
        return float(_diagonal(d.diagonal[0]).sum()), 2.0 * torch.cat(each)


def _diagonal(block: Tensor) -> Tensor:
    return block.diagonal() if block.ndim == 2 else block
