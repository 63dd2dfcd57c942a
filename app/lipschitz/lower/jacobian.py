"""Norms of the Jacobian at many points at once, and the directions that attain them.

Few inputs or outputs: the dense Jacobians by one product an output (or input), and their exact norms. Otherwise
the p-norm power method, v <- argmax <J^T u, v>, u the dual vector of J v; for p = 2 this is power iteration on J^T J
[VS18, Algorithm 2]. Its norms are ||J v||_p for a unit vector v, so they
are attained by every linear piece of the network. At kinks autodiff may answer with a matrix that is no Jacobian:
these norms guide a search, and only pairs of points (`pairs.py`) are witnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from ..domain import vector_norm
from ..network.nodes import Network
from ..operators.norm import Norm

DENSE_SIDE = 32
"""Dense Jacobians where the inputs or the outputs are at most so many."""

ITERATIONS = 8
"""Steps of the power method from random directions; they start from known ones where a search moves on."""

STEP = 1e-6
"""Half a central difference, relative to the point's largest entry, at least 1."""

ENTRIES = 2**23
"""Most numbers that a batch of points may need at a time: 64 MiB."""

DUAL: dict[Norm, Norm] = {"1": "inf", "2": "2", "inf": "1"}
Function = Callable[[Tensor], Tensor]


class Steepest(NamedTuple):
    """For B points: Jacobian norms `(B,)` and unit directions that attain them, `(B, n)`."""

    norms: Tensor
    directions: Tensor


def batch_size(network: Network) -> int:
    """How many points to evaluate at a time."""
    values = sum(node.size for node in network.nodes)
    jacobian = network.input.size * network.output.size if _is_dense(network) else 0
    return max(1, ENTRIES // (values + jacobian))


def batches(network: Network, count: int) -> Iterator[slice]:
    """`count` points in batches from one point upwards, so that a clock can be looked at in between."""
    start, size = 0, 1
    while start < count:
        yield slice(start, min(start + size, count))
        start, size = start + size, min(2 * size, batch_size(network))


def products(network: Network) -> int:
    """Forward or reverse products that the norm at one point takes."""
    return _small_side(network) + 1 if _is_dense(network) else 3 * ITERATIONS


def steepest_at(
    network: Network,
    points: Tensor,
    p: Norm,
    directions: Tensor | None = None,
    deadline: Deadline = NEVER,
    *,
    q: Norm | None = None,
) -> Steepest:
    """Jacobian norms from p to q (p where there is none) at `points`, `(B, n)`.

    The power method starts from `directions` where they are given.

    OutOfTime where the deadline passes between two products.
    """
    if _is_dense(network):
        return _of_matrices(jacobians(network, points, deadline), p, q or p)
    if directions is None:
        generator = torch.Generator(points.device).manual_seed(0)
        directions = torch.randn(points.shape, dtype=torch.float64, generator=generator)
        directions = directions / vector_norm(directions, p)[:, None]
    return _by_power_method(_Linearised(network, points), (p, q or p), directions, deadline)


def steepest(pull: Tensor, p: Norm, fallback: Tensor | None = None) -> Tensor:
    """argmax <pull, v> over ||v||_p <= 1, row by row; `fallback` where the pull vanishes."""
    if p == "2":
        direction = unit(pull)
    elif p == "inf":
        direction = torch.sign(pull)
    else:
        largest = pull.abs().argmax(1, keepdim=True)
        direction = torch.zeros_like(pull).scatter_(1, largest, torch.sign(pull.gather(1, largest)))
    still = (pull == 0).all(1, keepdim=True)
    return direction if fallback is None else torch.where(still, fallback, direction)


def unit(rows: Tensor) -> Tensor:
    """Every row scaled to 2-norm one; rows of zeros stay."""
    return rows / vector_norm(rows, "2")[:, None].clamp(min=torch.finfo(torch.float64).tiny)


def _small_side(network: Network) -> int:
    return min(network.input.size, network.output.size)


def _is_dense(network: Network) -> bool:
    return _small_side(network) <= DENSE_SIDE


def jacobians(network: Network, points: Tensor, deadline: Deadline = NEVER) -> Tensor:
    """`(B, m, n)`, by one product a row, or a column where there are fewer."""
    linear = _Linearised(network, points)
    if network.output.size <= network.input.size:
        return torch.stack([linear.rmv(row) for row in _basis(linear.value, deadline)], 1)
    return torch.stack([linear.mv(column) for column in _basis(points, deadline)], 2)


def _basis(like: Tensor, deadline: Deadline) -> Iterator[Tensor]:
    """Every unit vector, one for each row of `like`, while there is time."""
    for row in torch.eye(like.shape[1], dtype=torch.float64, device=like.device):
        deadline.check()
        yield row.expand_as(like)


class _Linearised:
    """The Jacobians at a batch of points as operators: J^T u by autodiff, J v by central differences.

    Forward-mode and second derivatives lack formulas for some operators; for guidance a difference is as good.
    """

    def __init__(self, network: Network, points: Tensor) -> None:
        self._network = network
        self._x = points.detach().requires_grad_(True)
        self._step = STEP * vector_norm(points, "inf")[:, None].clamp(min=1.0)
        self.value = network(self._x)

    def mv(self, v: Tensor) -> Tensor:
        """J v, `(B, n)` -> `(B, m)`."""
        with torch.no_grad():
            rise = self._network(self._x + self._step * v) - self._network(self._x - self._step * v)
        return torch.nan_to_num(rise / (2.0 * self._step), posinf=0.0, neginf=0.0)

    def rmv(self, u: Tensor) -> Tensor:
        """J^T u, `(B, m)` -> `(B, n)`."""
        if not self.value.requires_grad:
            return torch.zeros_like(self._x)
        (pull,) = torch.autograd.grad(self.value, self._x, u, retain_graph=True, materialize_grads=True)
        return torch.nan_to_num(pull, posinf=0.0, neginf=0.0)


def _of_matrices(jacobians: Tensor, p: Norm, q: Norm) -> Steepest:
    """Norms of `(B, m, n)` and where they are attained: exact but from inf to 2 and to 1 and from 2 to 1, which are
    NP-hard in the inf-norm and what the power method finds.
    """
    if p == q == "2":
        return _of_gram(jacobians)
    if p == "1":
        norms, column = vector_norm(jacobians.mT.flatten(0, 1), q).unflatten(0, jacobians.mT.shape[:2]).max(1)
        return Steepest(norms, torch.nn.functional.one_hot(column, jacobians.shape[2]).to(torch.float64))
    if q == "inf":
        norms, row = vector_norm(jacobians.flatten(0, 1), DUAL[p]).unflatten(0, jacobians.shape[:2]).max(1)
        return Steepest(norms, steepest(jacobians[torch.arange(len(row), device=row.device), row], p))
    start = _of_gram(jacobians).directions
    start = start / vector_norm(start, p)[:, None].clamp(min=torch.finfo(torch.float64).tiny)
    return _by_power_method(_Matrices(jacobians), (p, q), start, NEVER)


@dataclass(frozen=True, eq=False)
class _Matrices:
    """`(B, m, n)` as operators."""

    entries: Tensor

    def mv(self, v: Tensor) -> Tensor:
        return torch.einsum("bmn,bn->bm", self.entries, v)

    def rmv(self, u: Tensor) -> Tensor:
        return torch.einsum("bmn,bm->bn", self.entries, u)


def _of_gram(jacobians: Tensor) -> Steepest:
    """Top singular values and right singular vectors from the smaller Gram matrix, relative to the largest entry."""
    finite = torch.nan_to_num(jacobians, nan=0.0, posinf=0.0, neginf=0.0)
    size = finite.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    scaled = finite / size
    is_wide = scaled.shape[1] <= scaled.shape[2]
    values, vectors = torch.linalg.eigh(scaled @ scaled.mT if is_wide else scaled.mT @ scaled)
    top = vectors[:, :, -1]
    if is_wide:
        top = unit((top[:, None, :] @ scaled).squeeze(1))
    return Steepest(values[:, -1].clamp(min=0.0).sqrt() * size[:, 0, 0], top)


def _by_power_method(
    linear: _Linearised | _Matrices, norms: tuple[Norm, Norm], directions: Tensor, deadline: Deadline
) -> Steepest:
    p, q = norms
    for _ in range(ITERATIONS):
        deadline.check()
        u = steepest(linear.mv(directions), DUAL[q])  # <u, J v> = ||J v||_q
        directions = steepest(linear.rmv(u), p, fallback=directions)
    return Steepest(vector_norm(linear.mv(directions), q), directions)
