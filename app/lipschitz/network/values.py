"""What a tensor of the captured graph is to the builder: a constant, or an affine function of one node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lipschitz.artifact.captured import Origin
from app.lipschitz.network.nodes import Node
from app.lipschitz.operators import algebra
from app.lipschitz.operators.base import LinearOperator, Shape


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that no input reaches.

    `radius` bounds, entry by entry, the distance to the number in real arithmetic (None: exact, inf:
    unknown); `parameters` counts the stored numbers that it was made from.
    """

    value: Tensor
    radius: Tensor | None = None
    parameters: int = 0

    @property
    def shape(self) -> Shape:
        """The tensor's shape."""
        return tuple(self.value.shape)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Constant:
        """The constant after its entries were moved about, the radius with them."""
        return replace(self, value=move(self.value), radius=None if self.radius is None else move(self.radius))


@dataclass(frozen=True, eq=False)
class Linear:
    """`operator @ source + bias`, not yet emitted as a node, so that later affine steps can fuse with it.

    `bias` is a flat vector, None for zero. `origins` names the layers fused so far.
    """

    source: Node
    operator: LinearOperator
    bias: Tensor | None = None
    origins: tuple[Origin, ...] = ()
    parameters: int = 0

    @property
    def shape(self) -> Shape:
        """The tensor's shape."""
        return self.operator.out_shape

    def offset(self) -> Tensor:
        """The bias as a tensor of `shape`, zeros when there is none."""
        if self.bias is None:
            return torch.zeros(self.shape, dtype=torch.float64)
        return self.bias.reshape(self.shape)

    def then(self, operator: LinearOperator, offset: Tensor, origin: Origin | None, parameters: int = 0) -> Linear:
        """The value after one more affine step whose linear part is `operator`; `offset` is the new bias."""
        return replace(
            self,
            operator=algebra.compose(operator, self.operator),
            bias=flat_or_none(offset),
            origins=self.origins if origin is None else merge_origins(self.origins, (origin,)),
            parameters=self.parameters + parameters,
        )

    def shifted(self, offset: Tensor, parameters: int = 0) -> Linear:
        """The same linear part with `offset` as the bias."""
        return replace(self, bias=flat_or_none(offset), parameters=self.parameters + parameters)


Value = Constant | Linear


def flat_or_none(offset: Tensor) -> Tensor | None:
    """A bias as a flat vector; None when it is zero everywhere."""
    return offset.reshape(-1) if bool(torch.any(offset != 0)) else None


def merge_origins(*groups: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """All origins once, in order of first appearance."""
    return tuple(dict.fromkeys(origin for group in groups for origin in group))
