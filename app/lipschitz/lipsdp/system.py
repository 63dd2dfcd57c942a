"""The constraint of LipSDP [F19] and everything that its structure makes cheap.

For a network with input x, neurons z_i with slopes in [a_i, b_i], pre-activations v = V xi and output y = C xi, all
linear in xi = (x, z_1, ..., z_M), slope restriction says (u_i^T d)(w_i^T d) <= 0 for every difference d of two
trajectories, with u_i = e_i - a_i v_i and w_i = e_i - b_i v_i. So ||dy||^2 <= rho ||dx||^2 follows from

    S(rho, t) = rho E_x + sum_i t_i (u_i w_i^T + w_i u_i^T) - C^T C  being positive semidefinite, with t >= 0.

A batch holds P problems of one shape, each with its own rho `(P,)` and multipliers t `(P, m)`; or, `coupled`, the P
diagonal blocks of one problem, such as the frequencies of a convolutional chain, with rho `(1,)` and t `(1, m)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Block:
    """Rows `row, row + 1, ...` of V in columns `column, ...`: `(r, c)` for all problems or `(P, r, c)`.

    The exact map differs by `error` at most, in the 2-norm.
    """

    row: int
    column: int
    matrix: Tensor
    error: float = 0.0

    @property
    def rows(self) -> slice:
        """The neurons that it feeds."""
        return slice(self.row, self.row + self.matrix.shape[-2])

    @property
    def columns(self) -> slice:
        """The entries of xi that it reads."""
        return slice(self.column, self.column + self.matrix.shape[-1])


@dataclass(frozen=True, eq=False)
class System:
    """`inputs` entries of x, then the neurons; `lower`, `upper` their slopes `(P, M)`; C is `output`, `(p, N)` or
    `(P, p, N)`, off by `output_error`; neuron i has the multiplier `groups[i]`, or its own where `groups` is None.
    """

    inputs: int
    blocks: tuple[Block, ...]
    output: Tensor
    lower: Tensor
    upper: Tensor
    groups: Tensor | None = None
    output_error: float = 0.0
    coupled: bool = False

    @cached_property
    def batch(self) -> int:
        """Number of matrices, P."""
        return max([len(self.lower), *(len(block.matrix) for block in self.blocks if block.matrix.ndim == 3)])

    @property
    def neurons(self) -> int:
        """Number of neurons, M, of one matrix."""
        return self.lower.shape[1]

    @property
    def size(self) -> int:
        """Side of S, N."""
        return self.inputs + self.neurons

    @cached_property
    def multipliers(self) -> int:
        """Number of multipliers of one problem, m."""
        return self.neurons if self.groups is None else int(self.groups.max()) + 1

    @cached_property
    def cost(self) -> Tensor:
        """C^T C, `(1 or P, N, N)`."""
        output = self.output if self.output.ndim == 3 else self.output[None]
        read = torch.nonzero((output != 0.0).flatten(0, 1).any(0))[:, 0]
        cost = output.new_zeros(len(output), self.size, self.size)
        cost[:, read[:, None], read] = output[:, :, read].mT @ output[:, :, read]
        return cost

    @cached_property
    def moving(self) -> Tensor:
        """Which multipliers say anything, `(P, m)` or `(1, m)`: those of neurons that read something."""
        reads = torch.zeros_like(self.lower).expand(self.batch, -1).clone()
        for block in self.blocks:
            reads[:, block.rows] += block.matrix.abs().sum(-1)
        return self.total(self.per_multiplier(reads)) > 0.0

    @cached_property
    def is_shifted(self) -> bool:
        """Whether any slope's lower end differs from zero."""
        return bool(self.lower.any())

    @cached_property
    def is_curved(self) -> bool:
        """Whether the constraint holds products of two pre-activations."""
        return bool((self.lower * self.upper).any())

    def per_neuron(self, t: Tensor) -> Tensor:
        """Every neuron's multiplier, `(P, m)` -> `(P, M)`."""
        return t if self.groups is None else t[:, self.groups]

    def per_multiplier(self, x: Tensor) -> Tensor:
        """Sums over the neurons of one multiplier in the last axis, `(..., M)` -> `(..., m)`."""
        if self.groups is None:
            return x
        return x.new_zeros(*x.shape[:-1], self.multipliers).index_add_(-1, self.groups, x)

    def total(self, x: Tensor) -> Tensor:
        """One number, or row, a problem: the sum over the blocks of one."""
        return x.sum(0, keepdim=True) if self.coupled else x

    def least(self, x: Tensor) -> Tensor:
        """The same for the smallest one."""
        return x.amin(0, keepdim=True) if self.coupled else x

    def pre(self, d: Tensor) -> Tensor:
        """V D, `(P, N, k)` -> `(P, M, k)`."""
        out = d.new_zeros(d.shape[0], self.neurons, d.shape[2])
        for block in self.blocks:
            out[:, block.rows] += block.matrix @ d[:, block.columns]
        return out

    def pre_adjoint(self, y: Tensor) -> Tensor:
        """Y V, `(P, k, M)` -> `(P, k, N)`."""
        out = y.new_zeros(y.shape[0], y.shape[1], self.size)
        for block in self.blocks:
            out[:, :, block.columns] += y[:, :, block.rows] @ block.matrix
        return out

    def against_constraints(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """<E_x, D> and <A_k, D> of every problem, for symmetric D `(P, N, N)`."""
        n, vd = self.inputs, self.pre(d)
        each = d.diagonal(dim1=1, dim2=2)[:, n:] - (self.lower + self.upper) * vd[:, :, n:].diagonal(dim1=1, dim2=2)
        if self.is_curved:
            squares = torch.zeros_like(each)
            for block in self.blocks:
                squares[:, block.rows] += (vd[:, block.rows, block.columns] * block.matrix).sum(2)
            each = each + self.lower * self.upper * squares
        inputs = d.diagonal(dim1=1, dim2=2)[:, :n].sum(1)
        return self.total(inputs), self.total(self.per_multiplier(2.0 * each))

    def times_step(self, d: Tensor, vd: Tensor, rho: Tensor, t: Tensor) -> Tensor:
        """D (S(rho, t) + C^T C) for symmetric D `(P, N, N)` with V D at hand: no product of two N by N matrices."""
        each = self.per_neuron(t)
        both = each * (self.lower + self.upper)
        z = d[:, :, self.inputs :]
        dv = vd.mT
        right = -z * both[:, None]
        if self.is_curved:
            right += dv * (2.0 * each * self.lower * self.upper)[:, None]
        out = self.pre_adjoint(right)
        out[:, :, : self.inputs] += d[:, :, : self.inputs] * rho[:, None, None]
        out[:, :, self.inputs :] += 2.0 * z * each[:, None] - dv * both[:, None]
        return out

    def step(self, rho: Tensor, t: Tensor) -> Tensor:
        """S(rho, t) + C^T C, `(P, N, N)`: linear in (rho, t)."""
        n, each = self.inputs, self.per_neuron(t)
        both, curved = each * (self.lower + self.upper), 2.0 * each * self.lower * self.upper
        out = t.new_zeros(self.batch, self.size, self.size)
        for block in self.blocks:
            coupling = -both[:, block.rows, None] * block.matrix
            out[:, n + block.row : n + block.rows.stop, block.columns] += coupling
            out[:, block.columns, n + block.row : n + block.rows.stop] += coupling.mT
        if self.is_curved:
            self._add_curved(out, curved)
        out.diagonal(dim1=1, dim2=2)[:, :n] += rho[:, None]
        out.diagonal(dim1=1, dim2=2)[:, n:] += 2.0 * each
        return out

    def _add_curved(self, out: Tensor, weight: Tensor) -> None:
        """Adds V^T diag(weight) V."""
        for one in self.blocks:
            for two in self.blocks:
                if one.rows == two.rows:
                    out[:, one.columns, two.columns] += (one.matrix.mT * weight[:, None, one.rows]) @ two.matrix

    def slack(self, rho: Tensor, t: Tensor) -> Tensor:
        """S(rho, t), `(P, N, N)`."""
        return self.step(rho, t) - self.cost
