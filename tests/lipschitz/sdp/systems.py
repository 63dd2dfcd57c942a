"""Systems of small chains, and the same problem for a general conic solver."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lipschitz.sdp.system import Block, System


def random_weights(sizes: Sequence[int], seed: int) -> list[Tensor]:
    """Gaussian matrices of unit-order norm."""
    generator = torch.Generator().manual_seed(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    return [torch.randn(o, i, dtype=torch.float64, generator=generator) / (o + i) ** 0.5 for o, i in shapes]


def chain(
    weights: Sequence[Tensor], slope: tuple[float, float] = (0.0, 1.0), *, skips: float = 0.0, by_layer: bool = False
) -> tuple[System, list[slice]]:
    """A chain of dense layers; `skips` adds that much of the input to every pre-activation of its width."""
    inputs = weights[0].shape[1]
    blocks, layers, groups, column, row = [], [], [], 0, 0
    for k, weight in enumerate(weights[:-1]):
        blocks.append(Block(row, column, weight))
        if k > 0 and skips and len(weight) == inputs:
            blocks.append(Block(row, 0, skips * torch.eye(inputs, dtype=torch.float64)))
        layers.append(slice(row, row + len(weight)))
        groups += [k] * len(weight)
        column, row = inputs + row, row + len(weight)
    output = torch.zeros(len(weights[-1]), inputs + row, dtype=torch.float64)
    output[:, column:] = weights[-1]
    ends = [torch.full((1, row), end, dtype=torch.float64) for end in slope]
    return System(inputs, tuple(blocks), output, *ends, torch.tensor(groups) if by_layer else None), layers


def by_conic_solver(system: System) -> float:
    """The least rho as Clarabel finds it, for one problem."""
    import cvxpy

    n, m, size = system.inputs, system.neurons, system.size
    rows = system.pre(torch.eye(size, dtype=torch.float64)[None])[0].numpy()
    low, high = system.lower[0].numpy(), system.upper[0].numpy()
    u, w = -low[:, None] * rows, -high[:, None] * rows
    u[range(m), range(n, size)] += 1.0
    w[range(m), range(n, size)] += 1.0
    rho, t = cvxpy.Variable(nonneg=True), cvxpy.Variable(system.multipliers, nonneg=True)
    each = t if system.groups is None else t[system.groups.numpy()]
    energy = torch.zeros(size, size, dtype=torch.float64)
    energy[:n, :n] = torch.eye(n)
    coupled = u.T @ cvxpy.diag(each) @ w
    slack = rho * energy.numpy() + coupled + coupled.T - system.cost[0].numpy()
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    cvxpy.Problem(cvxpy.Minimize(rho), [slack >> 0]).solve(solver="CLARABEL", **tight)
    return float(rho.value)
