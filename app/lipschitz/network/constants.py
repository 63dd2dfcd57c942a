"""Arithmetic on constants with a running bound on its rounding errors.

Weights are often prepared inside the graph (batch norm folded by an exporter, weight normalisation). They are
computed here in float64; `radius` keeps, entry by entry, how far the result can be from real arithmetic, so
that certified norms can add it. An operation without a formula yields an infinite radius: harmless in a bias,
refused in a weight. Standard model of floating point, u = 2^-53 (Higham, Accuracy and Stability, ch. 3), with the
term for underflow: a product of two numbers that are not 0 is off by 2^-1074 as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..operators.folding import pattern, without_false_zeros
from ..operators.rounding import TINY
from .values import Constant

UNIT = 2.0**-53
SLACK = 1.0 + 2.0**-40
"""Covers the rounding errors of the radius computations themselves."""
WIDE = 2.0**-36
"""Radius, relative to the largest entry, from which long arithmetic is asked for a constant."""


def exact(value: Tensor | float | int, parameters: int = 0) -> Constant:
    """A constant whose stored number is the number meant."""
    return Constant(torch.as_tensor(value, dtype=_dtype_of(value)), None, parameters)


def _dtype_of(value: Tensor | float | int) -> torch.dtype:
    if isinstance(value, Tensor):
        return value.dtype
    return torch.float64


def radius(constant: Constant) -> Tensor:
    """The radius as a tensor of the constant's shape, zeros when exact."""
    return torch.zeros_like(constant.value) if constant.radius is None else constant.radius


def is_wide(constant: Constant) -> bool:
    """Whether the radius is unknown, or would be seen in a bound."""
    if constant.radius is None or not constant.value.numel():
        return False
    return not float(constant.radius.max()) <= WIDE * float(constant.value.abs().max())


def without_doubtful_zeros(constant: Constant) -> Constant:
    """The constant with the smallest number in place of a 0 that may be none: then a stored zero is one for certain."""
    if constant.radius is None or not constant.value.is_floating_point():
        return constant
    value = without_false_zeros(constant.value, (constant.radius > 0.0).to(constant.value.dtype))
    return replace(constant, value=value, radius=constant.radius + TINY * pattern(constant.radius))


def _rounded(value: Tensor, propagated: Tensor, *operands: Constant, underflow: Tensor | float = 0.0) -> Constant:
    """`underflow` counts the products that may have underflowed, entry by entry."""
    total = SLACK * (propagated + UNIT * value.abs()) + 4.0 * TINY * underflow
    return Constant(value, total, sum(operand.parameters for operand in operands))


def _may_vanish(*factors: Tensor) -> Tensor:
    """1 where all factors of a product may differ from 0."""
    first, *others = (pattern(factor) for factor in factors)
    for other in others:
        first = first * other
    return first


def _reach(constant: Constant) -> Tensor:
    """At least the magnitude of the number meant; above 0 wherever that may be."""
    return constant.value.abs() + radius(constant)


def add(a: Constant, b: Constant, alpha: float = 1.0) -> Constant:
    """a + alpha b."""
    value = a.value + alpha * b.value
    scaled = abs(alpha) != 1.0
    inner = UNIT * (alpha * b.value).abs() if scaled else 0.0
    lost = pattern(_reach(b)) if scaled else 0.0
    return _rounded(value, radius(a) + abs(alpha) * radius(b) + inner, a, b, underflow=lost)


def subtract(a: Constant, b: Constant, alpha: float = 1.0) -> Constant:
    """a - alpha b."""
    return add(a, b, -alpha)


def multiply(a: Constant, b: Constant) -> Constant:
    """a b, entry by entry."""
    propagated = a.value.abs() * radius(b) + b.value.abs() * radius(a) + radius(a) * radius(b)
    return _rounded(a.value * b.value, propagated, a, b, underflow=_may_vanish(_reach(a), _reach(b)))


def divide(a: Constant, b: Constant) -> Constant:
    """a / b, entry by entry; the radius is infinite where b's enclosure holds zero."""
    value = a.value / b.value
    below = b.value.abs() / SLACK - radius(b) * SLACK
    propagated = (radius(a) + value.abs() * radius(b)) / below
    lost = pattern(_reach(a)) * torch.where(below > 0, 1.0 + 1.0 / below, 1.0)
    return _rounded(value, torch.where(below > 0, propagated, torch.inf), a, b, underflow=lost)


def square_root(a: Constant) -> Constant:
    """sqrt(a); the radius is infinite where a's enclosure reaches zero with a > 0 uncertain.

    torch's roots are not rounded correctly: vectors go through MKL, which errs by 0.53 units in the last place.
    """
    value = a.value.sqrt()
    below = a.value - radius(a)
    propagated = torch.where(radius(a) == 0, 0.0, radius(a) / below.clamp(min=0).sqrt())
    return _rounded(value, propagated + UNIT * value, a)


def reciprocal(a: Constant) -> Constant:
    """1 / a."""
    return divide(exact(1.0), a)


POWERS: dict[float, Callable[[Constant], Constant]] = {
    -1.0: reciprocal,
    -0.5: lambda c: reciprocal(square_root(c)),
    0.5: square_root,
    1.0: lambda c: c,
    2.0: lambda c: multiply(c, c),
}
"""Exponents that weight preparation uses."""


def power(a: Constant, exponent: float) -> Constant:
    """a^exponent for the exponents of `POWERS`."""
    return POWERS[exponent](a)


def matrix_product(a: Constant, b: Constant) -> Constant:
    """a @ b; inner products of length k err by at most gamma_k |a| |b|."""
    k = a.value.shape[-1]
    gamma = k * UNIT / (1 - k * UNIT)
    spread = a.value.abs() + radius(a)
    propagated = gamma * (spread @ (b.value.abs() + radius(b))) + spread @ radius(b) + radius(a) @ b.value.abs()
    return _rounded(a.value @ b.value, propagated, a, b, underflow=pattern(_reach(a)) @ pattern(_reach(b)))


def total(a: Constant, dim: list[int] | None, keepdim: bool = False) -> Constant:
    """Sum over dimensions, all of them for None."""
    dims = dim or list(range(a.value.ndim))
    value = a.value.sum(dims, keepdim=keepdim)
    count = a.value.numel() / max(value.numel(), 1)
    propagated = radius(a).sum(dims, keepdim=keepdim) + count * UNIT * a.value.abs().sum(dims, keepdim=keepdim)
    return _rounded(value, propagated, a)


def negate(a: Constant) -> Constant:
    return Constant(-a.value, a.radius, a.parameters)


def magnitude(a: Constant) -> Constant:
    """|a|, 1-Lipschitz."""
    return Constant(a.value.abs(), a.radius, a.parameters)


def unknown(value: Tensor, *operands: Constant) -> Constant:
    """The result of an operation without an error formula; exact only for integers and booleans."""
    spread = torch.full_like(value, torch.inf) if value.is_floating_point() else None
    return Constant(value, spread, sum(operand.parameters for operand in operands))
