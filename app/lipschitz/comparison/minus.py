"""A - B for operators of one kind, in their own form, so that what cancels has cancelled before it is bounded."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from ..operators import algebra
from ..operators.base import LinearOperator
from ..operators.composite import Composed, Sum
from ..operators.convolution import Convolution
from ..operators.dense import Dense
from ..operators.diagonal import Diagonal


def is_same(a: LinearOperator, b: LinearOperator) -> bool:
    """Whether both are one operator in real arithmetic: of one form, with the same numbers, and none of them folded."""
    if a is b:
        return True
    if type(a) is not type(b) or a.error or b.error:
        return False
    return all(_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))


def _equal(x: object, y: object) -> bool:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return x.shape == y.shape and x.dtype == y.dtype and torch.equal(x, y)
    if isinstance(x, LinearOperator) and isinstance(y, LinearOperator):
        return is_same(x, y)
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(_equal(i, j) for i, j in zip(x, y, strict=True))
    return x == y


def minus(a: LinearOperator, b: LinearOperator) -> LinearOperator | None:
    """A - B, its `error` covering the subtraction's rounding; None where they are not of one form."""
    if type(a) is not type(b) or (a.in_shape, a.out_shape) != (b.in_shape, b.out_shape):
        return None
    if isinstance(a, Dense | Convolution | Diagonal):
        total = algebra.add(a, b, -1.0)
        return None if isinstance(total, Sum) else total
    if isinstance(a, Composed) and isinstance(b, Composed) and len(a.parts) == len(b.parts):
        return _of_products(a, b)
    return None


def _of_products(a: Composed, b: Composed) -> LinearOperator | None:
    """A_1 ... A_n - B_1 ... B_n = sum_i A_1 ... A_(i-1) (A_i - B_i) B_(i+1) ... B_n, equal parts left out."""
    total: LinearOperator | None = None
    for i, (first, second) in enumerate(zip(a.parts, b.parts, strict=True)):
        if is_same(first, second):
            continue
        change = minus(first, second)
        if change is None:
            return None
        product = Composed((*a.parts[:i], change, *b.parts[i + 1 :]))
        total = product if total is None else Sum((total, product))
    return total
