"""Square roots and quotients of long numbers, by Python's integers: for as many entries as they are quick for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from .number import BITS, UP, Number, Unable, ends, exact, integers, normalised, sign

MOST = 50_000
"""Entries."""


def reciprocal(x: Number, places: int) -> Number:
    """1 / x; Unable where zero may be meant."""
    bits = BITS * places
    return _entrywise(x, lambda n, e: ((1 << (bits + abs(n).bit_length())) // n, -e - bits - abs(n).bit_length()), _far)


def square_root(x: Number, places: int) -> Number:
    """sqrt(x) for x > 0; Unable for any other."""
    if bool((sign(x) < 0).any()):
        raise Unable("a root of a number below zero")
    bits = BITS * places

    def root(n: int, e: int) -> tuple[int, int]:
        shift = 2 * bits + ((e - 2 * bits) % 2)
        return math.isqrt(n << shift), (e - shift) // 2

    return _entrywise(x, root, _steepest_root)


def _far(low: float, error: float) -> float:
    """|1/x - 1/y| for |x|, |y| >= low."""
    return error / low / low


def _steepest_root(low: float, error: float) -> float:
    return error / math.sqrt(low)


def _entrywise(
    x: Number, function: Callable[[int, int], tuple[int, int]], lost: Callable[[float, float], float]
) -> Number:
    """The function of every entry (n, e) = n 2^e, wrong by less than one in its last place, as (m, f)."""
    if x.digits[0].numel() > MOST:
        raise Unable(f"a quotient or a root of {x.digits[0].numel()} entries")
    if not x.digits[0].numel():
        return x
    numbers, exponent = integers(x)
    least, most = (end.reshape(-1) for end in ends(x))
    clear = torch.where(least > 0.0, least, -most)
    if not bool((clear > 0.0).all()):
        raise Unable("a quotient or a root at zero")
    values = [function(int(n), exponent) for n in numbers]
    result = _assembled(values)
    errors = [0.0] * len(values) if x.error is None else x.error.reshape(-1).tolist()
    rounding = [math.ldexp(1.0, max(f, -1070)) if f < 900 else math.inf for _, f in values]
    total = [
        (lost(low * (1.0 - 2.0**-50), error) if error else 0.0) * UP + unit * UP
        for low, error, unit in zip(clear.tolist(), errors, rounding, strict=True)
    ]
    error = torch.tensor(total, dtype=torch.float64)
    return Number(result.digits.reshape(-1, *x.shape), result.exponent, (error * UP).reshape(x.shape))


def _assembled(values: list[tuple[int, int]]) -> Number:
    """Integers m 2^f as one tensor of digits, `(L, n)`."""
    low = min(f for _, f in values) // BITS * BITS
    whole = [m << (f - low) for m, f in values]
    count = max(abs(m).bit_length() for m in whole) // BITS + 2
    digits = np.zeros((count, len(whole)))
    mask = (1 << BITS) - 1
    for column, m in enumerate(whole):
        sign, size = (-1 if m < 0 else 1), abs(m)
        for k in range(count):
            digits[k, column] = sign * (size & mask)
            size >>= BITS
    return normalised(torch.from_numpy(digits), low, None, count + 1)


def one_over(count: float, places: int) -> Number:
    """1 / count for a whole number."""
    return reciprocal(exact(torch.tensor(count, dtype=torch.float64)), places)
