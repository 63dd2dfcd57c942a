"""What a tensor of the captured graph is to the builder: a constant, or an affine function of one node."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..artifact.captured import Origin
from ..operators import algebra
from ..operators.base import LinearOperator, Shape
from ..operators.reshape import Reshape
from .ends import Ends, around, total
from .intervals import Interval, image
from .nodes import Node


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that no input reaches.

    `radius` bounds, entry by entry, the distance to the number in real arithmetic (None: exact, inf:
    unknown); `parameters` counts the stored numbers that it was made from. `cause` says why the radius could not be
    made narrower.
    """

    value: Tensor
    radius: Tensor | None = None
    parameters: int = 0
    cause: str = ""

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Constant:
        """The constant after its entries were moved about, the radius with them."""
        return replace(self, value=move(self.value), radius=None if self.radius is None else move(self.radius))


@dataclass(frozen=True, eq=False)
class Linear:
    """`operator @ source + bias`, not yet emitted as a node, so that later affine steps can fuse with it.

    `bias` is a flat vector, None for zero, and `bias_radius` bounds, entry by entry, its distance to the bias in real
    arithmetic, None where it is exact. `origins` names the layers fused so far.
    """

    source: Node
    operator: LinearOperator
    bias: Tensor | None = None
    origins: tuple[Origin, ...] = ()
    parameters: int = 0
    bias_radius: Tensor | None = None

    @property
    def shape(self) -> Shape:
        return self.operator.out_shape

    def positions(self) -> Tensor:
        """The flat position of every entry, as a tensor of `shape`."""
        return torch.arange(self.operator.out_size).reshape(self.shape)

    def offset(self) -> Tensor:
        """The bias as a tensor of `shape`, zeros when there is none."""
        if self.bias is None:
            return torch.zeros(self.shape, dtype=torch.float64)
        return self.bias.reshape(self.shape)

    def radius(self) -> Tensor:
        """The bias's radius as a flat vector, zeros when it is exact."""
        if self.bias_radius is None:
            return torch.zeros(self.operator.out_size, dtype=torch.float64)
        return self.bias_radius

    def then(
        self,
        operator: LinearOperator,
        offset: Tensor,
        origin: Origin | None,
        parameters: int = 0,
        added: Constant | None = None,
    ) -> Linear:
        """The value after one more affine step x -> `operator` x + `added`; `offset` is the new bias, as computed."""
        return replace(
            self,
            operator=algebra.compose(operator, self.operator),
            bias=flat_or_none(offset),
            origins=self.origins if origin is None else merge_origins(self.origins, (origin,)),
            parameters=self.parameters + parameters,
            bias_radius=_distance(offset, self._moved(operator), added),
        )

    def shifted(self, offset: Tensor, added: Constant, parameters: int = 0) -> Linear:
        """The value plus `added`; `offset` is the new bias, as computed."""
        return self.then(Reshape(self.shape, self.shape), offset, None, parameters, added)

    def _moved(self, operator: LinearOperator) -> Ends | None:
        """What the operator makes of the bias in real arithmetic; None for nothing."""
        if self.bias is None and self.bias_radius is None:
            return None
        moved = image(operator, Interval(*around(self.offset().reshape(-1), self.bias_radius)))
        return moved.lower, moved.upper


def _distance(offset: Tensor, moved: Ends | None, added: Constant | None) -> Tensor | None:
    """How far a computed bias may be from an enclosed one plus a constant, `(n,)`; None where it is exact."""
    flat = offset.reshape(-1)
    ends = (torch.zeros_like(flat), torch.zeros_like(flat)) if moved is None else moved
    if added is not None:
        value, radius = (
            None if part is None else part.to(flat.dtype).expand(offset.shape).reshape(-1)
            for part in (added.value, added.radius)
        )
        assert value is not None
        ends = total(ends, around(value, radius))
    away = torch.maximum(ends[1] - flat, flat - ends[0])
    away = torch.nan_to_num(away, nan=math.inf, posinf=math.inf).clamp(min=0.0)
    return (
        torch.where(away > 0.0, torch.nextafter(away, torch.full_like(away, math.inf)), 0.0)
        if bool(away.any())
        else None
    )


def flat_or_none(offset: Tensor) -> Tensor | None:
    """A bias as a flat vector; None when it is zero everywhere."""
    return offset.reshape(-1) if bool(torch.any(offset != 0)) else None


def merge_origins(*groups: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """All origins once, in order of first appearance."""
    return tuple(dict.fromkeys(origin for group in groups for origin in group))
