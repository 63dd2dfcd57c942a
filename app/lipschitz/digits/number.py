"""Tensors of long numbers: sum_k digits[k] 2^(exponent + BITS k), with balanced digits of BITS bits, and an error.

Products of digits and sums of many of them are integers below 2^53, so torch's float64 kernels compute them exactly
in any order; carries are passed on afterwards. Nothing underflows or overflows. `error` bounds, entry by entry, how far
the number may be from the one that is meant; None where it is that one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

BITS = 18
BASE = 2.0**BITS
PRODUCT = 2.0 ** (2 * BITS - 2)
"""Largest product of two digits."""
ROOM = 2.0**51
"""What an accumulator may hold before its carries are passed on."""
UP = 1.0 + 2.0**-40
"""Covers the rounding of the error's own arithmetic, a few operations on non-negative numbers."""
TINY = 2.0**-1070
"""More than what a few operations lose among subnormal numbers."""
NORMAL = 1000
"""Powers of two up to this and their inverses are normal numbers."""
LONGEST = 2**16
"""Summands of an inner product whose errors UP covers; longer ones are not evaluated."""


class Unable(Exception):
    """No honest value can be computed this way; the message says of what."""


@dataclass(frozen=True, eq=False)
class Number:
    """`digits` is `(L, *shape)`, integers of at most BASE / 2; `exponent` a multiple of BITS."""

    digits: Tensor
    exponent: int
    error: Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        return self.digits.shape[1:]

    def moved(self, move: Callable[[Tensor], Any]) -> Number:
        """Every entry put somewhere else, or left out."""
        error = None if self.error is None else move(self.error)
        return Number(torch.stack([move(digit) for digit in self.digits]), self.exponent, error)


def exact(value: Tensor) -> Number:
    """The float64 numbers themselves; Unable where one is not finite."""
    value = value.detach().to(torch.float64)
    largest = max(map(abs, map(float, torch.aminmax(value)))) if value.numel() else 0.0
    if not math.isfinite(largest):
        raise Unable("a number that is not finite")
    exponent = -(-(math.frexp(largest)[1] + 1 - BITS) // BITS) * BITS
    rows: list[Tensor] = []
    rest = value
    while not rows or bool(rest.any()):
        row = ldexp(rest, -exponent).round_()
        rest = _difference(rest, row, exponent)  # a multiple of the value's last bit, and at most half of 2^exponent
        rows.append(row)
        exponent -= BITS
    return Number(torch.stack(rows[::-1]), exponent + BITS if largest else 0)


def _difference(rest: Tensor, row: Tensor, exponent: int) -> Tensor:
    """rest - row 2^exponent, in halves where that product may be 2^1024."""
    if -NORMAL <= exponent <= 0:
        return torch.sub(rest, row, alpha=2.0**exponent)
    if exponent <= 0:
        return rest - ldexp(row, exponent)
    return torch.where(row == 0, rest, (rest / 2 - ldexp(row / 2, exponent)) * 2)


def normalised(digits: Tensor, exponent: int, error: Tensor | None, places: int) -> Number:
    """Carries passed on, and at most `places` digits kept, from the tensor's largest entry down."""
    rows, carry = [], torch.zeros_like(digits[0])
    for row in digits:
        total = row + carry
        carry = torch.round(total / BASE)
        rows.append(total - carry * BASE)
    while bool(carry.any()):
        above = torch.round(carry / BASE)
        rows.append(carry - above * BASE)
        carry = above
    carried = torch.stack(rows)
    used = carried.reshape(len(carried), math.prod(carried.shape[1:])).any(1).nonzero().flatten().tolist()
    if not used:
        return Number(torch.zeros_like(digits[:1]), 0, error)
    first = max(used[0], used[-1] + 1 - places)
    dropped = carried[used[0] : first]
    if len(dropped):
        lost = _floats(dropped.abs(), exponent + BITS * used[0]) * UP + TINY
        error = lost if error is None else (error + lost) * UP
    return Number(carried[first : used[-1] + 1], exponent + BITS * first, error)


def _floats(digits: Tensor, exponent: int) -> Tensor:
    """The sum as float64, from the largest digit down: to a few roundings where digits have one sign."""
    total = torch.zeros_like(digits[0])
    for k in reversed(range(len(digits))):
        total = total + ldexp(digits[k], exponent + BITS * k)
    return total


def ldexp(value: Tensor, power: int) -> Tensor:
    """value 2^power, in two steps where 2^power alone may be out of range."""
    if abs(power) <= NORMAL:
        return value * 2.0**power
    half = max(min(power // 2, 1000), -1000)
    rest = max(min(power - half, 1000), -1070)
    return value * 2.0**half * 2.0**rest


def middle(x: Number) -> Tensor:
    """The float64 number near the digits."""
    return _floats(x.digits, x.exponent)


def magnitude(x: Number) -> Tensor:
    """At least |x| + error."""
    size = _floats(x.digits.abs(), x.exponent) * UP + TINY
    return size if x.error is None else (size + x.error) * UP


def ends(x: Number) -> tuple[Tensor, Tensor]:
    """Float64 bounds of what is meant."""
    middle = _floats(x.digits, x.exponent)
    away = _floats(x.digits.abs(), x.exponent) * ((len(x.digits) + 4) * 2.0**-52) + TINY
    away = away if x.error is None else (away + x.error) * UP
    lower = torch.nextafter(middle - away, _like(middle, -math.inf))
    upper = torch.nextafter(middle + away, _like(middle, math.inf))
    return torch.where(lower.isnan(), -math.inf, lower), torch.where(upper.isnan(), math.inf, upper)


def _like(tensor: Tensor, value: float) -> Tensor:
    return torch.full_like(tensor, value)


def between(lower: Tensor, upper: Tensor) -> Number:
    """A number of which only bounds are known."""
    middle = lower / 2 + upper / 2
    radius = torch.maximum(upper - middle, middle - lower) * UP + TINY
    return replace(exact(middle), error=radius)


def sign(x: Number) -> Tensor:
    """Of the digits: that of the leading one."""
    signs = torch.zeros_like(x.digits[0])
    for row in reversed(x.digits):
        signs = torch.where(signs == 0, torch.sign(row), signs)
    return signs


def aligned(numbers: Sequence[Number]) -> tuple[list[Tensor], int]:
    """The digits of all with the same places, and the exponent of the lowest."""
    low = min(x.exponent for x in numbers)
    high = max(x.exponent + BITS * len(x.digits) for x in numbers)

    def padded(x: Number) -> Tensor:
        before, after = (x.exponent - low) // BITS, (high - x.exponent) // BITS - len(x.digits)
        if not before and not after:
            return x.digits
        rows = [torch.zeros(n, *x.shape, dtype=torch.float64) for n in (before, after)]
        return torch.cat([rows[0], x.digits, rows[1]])

    return [padded(x) for x in numbers], low


def _errors(*errors: Tensor | None) -> Tensor | None:
    known = [error for error in errors if error is not None]
    return sum(known[1:], known[0]) * UP if known else None


def add(a: Number, b: Number, places: int, sign_of_b: float = 1.0) -> Number:
    """a + b or a - b."""
    (x, y), exponent = aligned([a, b])
    error = _errors(a.error, b.error)
    shape = torch.broadcast_shapes(a.shape, b.shape)
    x, y = (d.reshape(len(d), *[1] * (len(shape) - d.ndim + 1), *d.shape[1:]) for d in (x, y))
    return normalised(x + sign_of_b * y, exponent, None if error is None else error.expand(shape), places)


def negative(a: Number) -> Number:
    return replace(a, digits=-a.digits)


def select(first: Tensor, a: Number, b: Number) -> Number:
    """a where `first`, else b; the errors are selected as well."""
    (x, y), exponent = aligned([a, b])
    error = None
    if a.error is not None or b.error is not None:
        zero = torch.zeros((), dtype=torch.float64)
        error = torch.where(first, zero if a.error is None else a.error, zero if b.error is None else b.error)
    shape = torch.broadcast_shapes(first.shape, a.shape, b.shape)
    x, y = (d.reshape(len(d), *[1] * (len(shape) - d.ndim + 1), *d.shape[1:]) for d in (x, y))
    digits = torch.where(first, x, y)
    return Number(digits, exponent, None if error is None else error.expand(shape))


def maximum(a: Number, b: Number, places: int) -> Number:
    """The greater of the two; 1-Lipschitz in the larger error."""
    chosen = select(sign(add(a, b, 10**9, -1.0)) >= 0, a, b)
    if a.error is None and b.error is None:
        return chosen
    zero = torch.zeros((), dtype=torch.float64)
    error = torch.maximum(zero if a.error is None else a.error, zero if b.error is None else b.error)
    return normalised(chosen.digits, chosen.exponent, error.expand(chosen.shape), places)


def integers(x: Number) -> tuple[np.ndarray[Any, Any], int]:
    """The entries as Python integers times 2^exponent, flat."""
    total = np.zeros(math.prod(x.shape), dtype=object)
    for k, row in enumerate(x.digits):
        total = total + np.array([int(d) << (BITS * k) for d in row.reshape(-1).tolist()], dtype=object)
    return total, x.exponent
