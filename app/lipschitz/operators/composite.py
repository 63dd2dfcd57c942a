"""Operators made of operators: products, sums, stacks and adjoints.

`error` of a composite follows from its parts: with |part_i|_p <= n_i and errors e_i, the product is off by
at most prod (n_i + e_i) - prod n_i. Nothing is computed where every part is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .base import LinearOperator, Shape
from .rounding import up_add, up_product, up_sum


def _first_device(parts: Sequence[LinearOperator]) -> torch.device | None:
    return next((part.device for part in parts if part.device is not None), None)


@dataclass(frozen=True, eq=False)
class _Composite(LinearOperator):
    """Shared fields: the shapes follow from the parts."""

    in_shape: Shape = field(init=False)
    out_shape: Shape = field(init=False)
    parts: tuple[LinearOperator, ...]

    def _set_shapes(self, in_shape: Shape, out_shape: Shape) -> None:
        object.__setattr__(self, "in_shape", in_shape)
        object.__setattr__(self, "out_shape", out_shape)

    @property
    def device(self) -> torch.device | None:
        """Where the first part with weights lives."""
        return _first_device(self.parts)


@dataclass(frozen=True, eq=False)
class Composed(_Composite):
    """parts[0] parts[1] ... parts[-1], outermost first; ValueError when neighbouring sizes differ."""

    def __post_init__(self) -> None:
        for outer, inner in zip(self.parts, self.parts[1:], strict=False):
            if outer.in_size != inner.out_size:
                raise ValueError(f"cannot compose {outer.in_shape} with {inner.out_shape}")
        self._set_shapes(self.parts[-1].in_shape, self.parts[0].out_shape)

    @cached_property
    def error(self) -> float:
        """Telescoping sum: each part's error between the exact outer and the stored inner parts."""
        if not any(part.error for part in self.parts):
            return 0.0
        norms = [max(part.absolute_sums()) for part in self.parts]
        exact = [up_add(n, part.error) for n, part in zip(norms, self.parts, strict=True)]
        return up_sum(
            [up_product([*exact[:i], part.error, *norms[i + 1 :]]) for i, part in enumerate(self.parts) if part.error]
        )

    @property
    def depth(self) -> int:
        """Depths add up along the chain."""
        return sum(part.depth for part in self.parts)

    def absolute_sums(self) -> tuple[float, float]:
        """Products of the parts' sums."""
        columns, rows = zip(*(part.absolute_sums() for part in self.parts), strict=True)
        return up_product(list(columns)), up_product(list(rows))

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m)`."""
        for part in reversed(self.parts):
            x = part.mv(x)
        return x

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m)` -> `(B, n)`."""
        for part in self.parts:
            y = part.rmv(y)
        return y

    def majorant(self) -> LinearOperator:
        """The product of the majorants: |A B| <= |A| |B| entrywise."""
        return Composed(tuple(part.majorant() for part in self.parts))


@dataclass(frozen=True, eq=False)
class Sum(_Composite):
    """parts[0] + parts[1] + ...; ValueError when the sizes differ."""

    def __post_init__(self) -> None:
        if len({(part.in_size, part.out_size) for part in self.parts}) != 1:
            raise ValueError("the terms of a sum must have one input size and one output size")
        self._set_shapes(self.parts[0].in_shape, self.parts[0].out_shape)

    @cached_property
    def error(self) -> float:
        return up_sum([part.error for part in self.parts])

    @property
    def depth(self) -> int:
        """The deepest term, then the additions."""
        return max(part.depth for part in self.parts) + len(self.parts) - 1

    def absolute_sums(self) -> tuple[float, float]:
        """Sums of the parts' sums."""
        columns, rows = zip(*(part.absolute_sums() for part in self.parts), strict=True)
        return up_sum(list(columns)), up_sum(list(rows))

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m)`."""
        return torch.stack([part.mv(x) for part in self.parts]).sum(0)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m)` -> `(B, n)`."""
        return torch.stack([part.rmv(y) for part in self.parts]).sum(0)

    def majorant(self) -> LinearOperator:
        """The sum of the majorants."""
        return Sum(tuple(part.majorant() for part in self.parts))


@dataclass(frozen=True, eq=False)
class Stack(_Composite):
    """One input, the flat outputs of all parts one after the other; ValueError when input sizes differ."""

    def __post_init__(self) -> None:
        if len({part.in_size for part in self.parts}) != 1:
            raise ValueError("the parts of a stack must share their input")
        self._set_shapes(self.parts[0].in_shape, (sum(part.out_size for part in self.parts),))

    @cached_property
    def error(self) -> float:
        """Errors add up: a stack is a sum of embeddings."""
        return up_sum([part.error for part in self.parts])

    @property
    def depth(self) -> int:
        """The deepest part, and the additions of the adjoint."""
        return max(part.depth for part in self.parts) + len(self.parts) - 1

    def absolute_sums(self) -> tuple[float, float]:
        """Columns add up, rows do not."""
        columns, rows = zip(*(part.absolute_sums() for part in self.parts), strict=True)
        return up_sum(list(columns)), max(rows)

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m_1 + m_2 + ...)`."""
        return torch.cat([part.mv(x) for part in self.parts], dim=1)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m_1 + m_2 + ...)` -> `(B, n)`."""
        pieces = torch.split_with_sizes(y, [part.out_size for part in self.parts], dim=1)
        return torch.stack([part.rmv(piece) for part, piece in zip(self.parts, pieces, strict=True)]).sum(0)

    def majorant(self) -> LinearOperator:
        """The stack of the majorants."""
        return Stack(tuple(part.majorant() for part in self.parts))


@dataclass(frozen=True, eq=False)
class Adjoint(LinearOperator):
    """A^T: rows and columns, mv and rmv change places."""

    in_shape: Shape = field(init=False)
    out_shape: Shape = field(init=False)
    operator: LinearOperator

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", self.operator.out_shape)
        object.__setattr__(self, "out_shape", self.operator.in_shape)

    @property
    def error(self) -> float:
        """That of the operator: the bound covers the 1-, 2- and inf-norms alike."""
        return self.operator.error

    @property
    def device(self) -> torch.device | None:
        """That of the operator."""
        return self.operator.device

    @property
    def depth(self) -> int:
        """That of the operator: it covers mv and rmv."""
        return self.operator.depth

    def absolute_sums(self) -> tuple[float, float]:
        columns, rows = self.operator.absolute_sums()
        return rows, columns

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m)`."""
        return self.operator.rmv(x)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m)` -> `(B, n)`."""
        return self.operator.mv(y)

    def majorant(self) -> LinearOperator:
        """The adjoint of the majorant."""
        return Adjoint(self.operator.majorant())


def work(operator: LinearOperator) -> float:
    """Multiplications, about, of one product with a vector."""
    return float(
        sum(leaf.depth * min(leaf.in_size, leaf.out_size) + leaf.in_size + leaf.out_size for leaf in leaves(operator))
    )


def leaves(operator: LinearOperator) -> list[LinearOperator]:
    """The operators with weights or indices that a composite is made of, in order, adjoints opened."""
    if isinstance(operator, Adjoint):
        return leaves(operator.operator)
    if isinstance(operator, _Composite):
        return [leaf for part in operator.parts for leaf in leaves(part)]
    return [operator]
