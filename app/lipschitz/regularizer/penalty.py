"""AutoLip as a differentiable penalty for training loops.

    penalty = AutoLipRegularizer(module, (1, 1, 28, 28))
    loss = cross_entropy(module(x), y) + 0.01 * penalty().log()

Norms come from a block power iteration that goes on from call to call, so that one step suffices while the weights move
slowly; a block, because training against the norm makes the leading singular values equal. It approaches a norm from
below: the value is an ESTIMATE. Have the trained module certified by the service.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from ..operators.gram import deterministic_start
from .live import Values, run, stored_values
from .plan import Cut, Term, plan


class AutoLipRegularizer:
    """The product of operator norms along a module's graph [VS18, Algorithm 1], differentiable in its weights.

    `shape` is that of one input, batch axis included (take a batch of one); the module has one input and one output.
    It is read once, in evaluation mode: dropout counts as 1, batch norm by its running statistics. Any operator of the
    service's rule table will do that is affine, or a function of one value whose constant depends on no trained weight;
    the others are refused by name (LipschitzError). Build it after the module was moved to its device and type.
    `steps` are power iterations a call, `warm_up` those before the first; `directions` is the size of the block.
    """

    def __init__(
        self, module: nn.Module, shape: Sequence[int], steps: int = 1, warm_up: int = 30, directions: int = 4
    ) -> None:
        self._plan = plan(module, shape)
        self._steps = steps
        self._directions = {term: _start(term, directions) for cut in self._plan.cuts for term in cut.terms}
        self.iterate(warm_up)

    def __call__(self) -> Tensor:
        """The estimate for the weights of now, a float64 scalar; also advances the power iteration."""
        self.iterate(self._steps)
        stored = self._stored()
        constants: dict[fx.Node, Tensor] = {}
        for cut in self._plan.cuts:
            constants[cut.node] = self._constant(cut, constants, stored)
        return constants[self._plan.cuts[-1].node]

    def iterate(self, steps: int) -> None:
        """Advance the power iteration alone, for instance after the weights were loaded from a file."""
        with torch.no_grad():
            stored = self._stored()
        for term, rows in self._directions.items():
            self._directions[term] = _advanced(term, rows, stored, steps)

    def _stored(self) -> Values:
        return stored_values(self._plan.graph, self._plan.constants)

    def _constant(self, cut: Cut, constants: dict[fx.Node, Tensor], stored: Values) -> Tensor:
        flows = [self._norm(term, stored) * constants.get(term.source, 1.0) for term in cut.terms]
        total: Tensor = torch.linalg.vector_norm(torch.stack(flows), cut.power)
        return cut.scale * total

    def _norm(self, term: Term, stored: Values) -> Tensor:
        """sigma = u^T A v with u = A v / ||A v||; with u and v held fixed its gradient is u v^T, that of the norm."""
        v = _steepest(term, self._directions[term], stored)
        image = _value(term, v, stored) - _value(term, torch.zeros_like(v), stored)
        u = image.detach() / torch.linalg.vector_norm(image.detach()).clamp(min=torch.finfo(v.dtype).tiny)
        sigma: Tensor = (u * image).sum(dtype=torch.float64)
        return sigma


def _start(term: Term, directions: int) -> Tensor:
    """Orthonormal tensors of the source's shape, as rows `(k, *shape)`."""
    like: Tensor = term.source.meta["val"]
    count = min(directions, like.numel())
    entries = deterministic_start(count * like.numel(), torch.empty(0, dtype=like.dtype, device=like.device))
    return _orthonormal(entries.reshape(count, *like.shape))


def _advanced(term: Term, rows: Tensor, stored: Values, steps: int) -> Tensor:
    """`steps` times V <- orthonormal rows of A^T A V; A^T by autodiff as in [VS18, Algorithm 2]."""
    for _ in range(steps):
        at = rows.detach().requires_grad_(True)
        image = _images(term, at, stored)
        (pulled,) = torch.autograd.grad(image, at, image.detach())
        rows = _orthonormal(pulled)
    return rows


def _steepest(term: Term, rows: Tensor, stored: Values) -> Tensor:
    """The unit vector that A stretches most among the combinations of the rows (Rayleigh and Ritz)."""
    with torch.no_grad():
        images = _images(term, rows, stored).flatten(1)
        weights = torch.linalg.eigh(images @ images.T).eigenvectors[:, -1]
        steepest: Tensor = torch.tensordot(weights, rows, 1)
    return steepest


def _images(term: Term, rows: Tensor, stored: Values) -> Tensor:
    """A v of every row, `(k, *target shape)`."""
    offset = _value(term, torch.zeros_like(rows[0]), stored)
    images: Tensor = torch.vmap(lambda v: _value(term, v, stored))(rows)
    return images - offset


def _value(term: Term, x: Tensor, stored: Values) -> Tensor:
    """The target for the value x of the term's source, offset included."""
    target: Tensor = run(term.nodes, term.source, x, stored)[term.target]
    return target


def _orthonormal(rows: Tensor) -> Tensor:
    columns: Tensor = torch.linalg.qr(rows.flatten(1).T).Q
    return columns.T.reshape(rows.shape)
