"""Products of long numbers, digit by digit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..operators.rounding import gamma
from .number import (
    BASE,
    BITS,
    LONGEST,
    PRODUCT,
    ROOM,
    TINY,
    UP,
    Number,
    Unable,
    ldexp,
    magnitude,
    normalised,
)


def product(
    operation: Callable[[Tensor, Tensor], Tensor],
    a: Number,
    b: Number,
    terms: int,
    places: int,
    *,
    at_once: bool = False,
) -> Number:
    """A map linear in both, whose entries are sums of at most `terms` products, digit by digit.

    `at_once`: it takes all digits of a as one tensor, `(L, *shape)`, so that b is read once for each of its own.
    """
    if terms > LONGEST:
        raise Unable(f"a sum of {terms} products")
    lowest = max(0, len(a.digits) + len(b.digits) - 2 - places - 2)
    total: Tensor | None = None
    filled, skipped = 0, 0
    for j, right in enumerate(b.digits):
        first = min(max(lowest - j, 0), len(a.digits))
        skipped += first
        parts = _parts(operation, a.digits[first:], right, at_once=at_once)
        for i, part in enumerate(parts, first + j):
            if total is None:
                total = torch.zeros(len(a.digits) + len(b.digits) + 2, *part.shape, dtype=torch.float64)
            total[i] += part
        filled += 1
        if total is not None and (filled + 1) * terms * PRODUCT > ROOM:
            total, filled = _carried(total), 1
    assert total is not None
    exponent = a.exponent + b.exponent
    error = _product_error(operation, a, b, terms)
    if skipped:
        lost = (
            ldexp(torch.tensor(skipped * terms * PRODUCT * UP, dtype=torch.float64), exponent + BITS * (lowest - 1))
            + TINY
        )
        extra = torch.full(total.shape[1:], float(lost), dtype=torch.float64)
        error = extra if error is None else (error + extra) * UP
    return normalised(total, exponent, error, places)


def _parts(
    operation: Callable[[Tensor, Tensor], Tensor], digits: Tensor, right: Tensor, *, at_once: bool
) -> Iterable[Tensor]:
    """The operation of each digit on the left with one on the right."""
    if at_once and len(digits):
        return operation(digits, right)
    return (operation(left, right) for left in digits)


def _carried(digits: Tensor) -> Tensor:
    carry = torch.round(digits / BASE)
    kept = digits - carry * BASE
    kept[1:] += carry[:-1]
    return kept


def _product_error(operation: Callable[[Tensor, Tensor], Tensor], a: Number, b: Number, terms: int) -> Tensor | None:
    """|A| e_b + e_a (|B| + e_b), rounded up; the operation is a sum of products with weights of one sign."""
    parts = []
    if b.error is not None:
        parts.append(operation(magnitude(a), b.error))
    if a.error is not None:
        parts.append(operation(a.error, magnitude(b)))
    if not parts:
        return None
    return sum(parts[1:], parts[0]) * (UP * (1.0 + 2.0 * gamma(terms + 2))) + 4.0 * terms * TINY
