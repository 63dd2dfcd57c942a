"""What a pair of points certainly attains: ||f(x) - f(y)||_q / ||x - y||_p from below, every rounding counted.

The points are float64 numbers and their distance is computed in integers, rounded up. f is evaluated on the captured
graph, with the stored weights, in long arithmetic: exactly, or with an error that more digits make smaller. Where an
operator has no rule there, or time is short, the network's enclosures by intervals take its place. The quotient is
rounded down.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contract.domain import Logit, Margin, Target
from ..deadline import Deadline, OutOfTime
from ..device import on_cpu
from ..digits.evaluate import values_at
from ..digits.number import Number, Unable, add, integers
from ..domain import Box
from ..network.nodes import Network
from ..network.propagation import propagate
from ..operators.norm import Norm
from ..problem import Problem
from .effort import forward_work

PLACES = (6, 12, 130)
"""Digits that are tried one after another: about 100 and 200 bits, and the whole range of float64."""

CLOSE = 2.0**-45
"""An error bar of this share of the slope is not worth more digits."""

EXTRA_BITS = 128
"""Bits of roots and quotients beyond float64's."""

MANY, FAR = 2**16, 900
"""Entries whose integers take tenths of a second, and exponents whose powers of two float64 may not have."""

GRACE_S = 1.0
"""Seconds that the first evaluation may take after the deadline: without it nothing is attained."""

DIGIT_WORK = 4.0
"""Evaluations of the network at one point that two points are worth, a digit that is kept."""

INTERVAL_WORK = 16.0
"""The same for their enclosures by intervals, which are left out where they would end beyond that, too."""


@dataclass(frozen=True)
class Attained:
    """`value` is attained at least; `error` more may be."""

    value: float
    error: float


LARGE, ENTRY_WORK = 2**22, 100.0
"""Entries of all values from which digits are counted for them, too, and what each is worth, a digit by a digit."""

Vector = tuple[Any, int]
"""Python integers and the power of two that they are multiples of."""


def attained(
    problem: Problem, x: Tensor, y: Tensor, deadline: Deadline | None = None, sharper: Deadline | None = None
) -> Attained:
    """The slope between two flat points `(n,)` of the domain; 0 where nothing is certain.

    OutOfTime only where a deadline is given; otherwise the problem's counts, and what can be had soon after it. More
    digits than the fewest are not begun where they would end after `sharper`.
    """
    apart = distance(x, y, problem.p)
    if not apart:
        return Attained(0.0, 0.0)
    best = Attained(0.0, math.inf)
    for low, high in _rises(problem, x, y, deadline, sharper):
        value, most = _down(low / apart), _up(high / apart)
        best = max(best, Attained(value, most - value), key=lambda one: one.value)
        if best.error <= CLOSE * best.value:
            break
    return best


def _rises(
    problem: Problem, x: Tensor, y: Tensor, deadline: Deadline | None, sharper: Deadline | None
) -> Iterator[tuple[Fraction, Fraction]]:
    """Bounds of ||f(x) - f(y)||_q, sharper and sharper."""
    until = deadline or Deadline(max(problem.deadline.end, time.monotonic() + GRACE_S))
    is_known = False
    try:
        for places in PLACES:
            last = sharper if is_known and sharper is not None else until
            last.begin(places * (DIGIT_WORK * forward_work(problem.network) + places * _entry_work(problem.network)))
            yield _lengths(_difference_of_values(problem, x, y, places, until), problem.output_norm)
            is_known = True
    except (Unable, OutOfTime) as cause:
        if deadline is not None and isinstance(cause, OutOfTime):
            raise
        if not is_known and (not problem.deadline.passed or until.fits(INTERVAL_WORK * forward_work(problem.network))):
            yield _by_intervals(problem, x, y)


def _is_large(network: Network) -> bool:
    return sum(node.size for node in network.nodes) > LARGE


def _entry_work(network: Network) -> float:
    return ENTRY_WORK * sum(node.size for node in network.nodes) if _is_large(network) else 0.0


def _difference_of_values(problem: Problem, x: Tensor, y: Tensor, places: int, deadline: Deadline) -> Number:
    """f(x) - f(y) for the target's outputs."""
    outputs = range(len(problem.captured.outputs)) if problem.outputs is None else problem.outputs
    one, other = values_at(problem.captured, outputs, (x, y), places, deadline)
    with on_cpu():  # where digits are
        difference = _targeted(add(one, other, 10**9, -1.0), problem.target)
    if difference.shape != (problem.network.output.size,):
        raise Unable("a network that is not the whole graph")
    return difference


def _targeted(values: Number, target: Target) -> Number:
    """The entry, or the difference of two, that the request asks about."""
    if isinstance(target, Logit):
        return _entry(values, target.index)
    if isinstance(target, Margin):
        return add(_entry(values, target.i), _entry(values, target.j), 10**9, -1.0)
    return values


def _entry(values: Number, position: int) -> Number:
    return values.moved(lambda v: v[position].reshape(1))


def _lengths(difference: Number, p: Norm) -> tuple[Fraction, Fraction]:
    whole, exponent = integers(difference)
    if difference.error is None:
        vector = (np.abs(whole), exponent)
        return _length(vector, p, up=False), _length(vector, p, up=True)
    if not bool(torch.isfinite(difference.error).all()):
        return Fraction(0), Fraction(10) ** 400
    error, lowest = exact_vector(difference.error * (1.0 + 2.0**-50))
    base = min(exponent, lowest)
    size, radius = np.abs(whole) * (1 << (exponent - base)), error * (1 << (lowest - base))
    least = size - radius
    least[least < 0] = 0
    return _length((least, base), p, up=False), _length((size + radius, base), p, up=True)


def _by_intervals(problem: Problem, x: Tensor, y: Tensor) -> tuple[Fraction, Fraction]:
    """From the enclosures of the network's outputs at both points."""
    nothing = Fraction(0), Fraction(10) ** 400
    first, second = (propagate(problem.network, Box(p, p))[problem.network.output] for p in (x, y))
    least = torch.maximum(second.lower - first.upper, first.lower - second.upper) * (1.0 - 2.0**-50)
    most = torch.maximum(second.upper - first.lower, first.upper - second.lower) * (1.0 + 2.0**-50)
    if not bool(torch.isfinite(least).all() and torch.isfinite(most).all()):
        return nothing
    low, high = exact_vector(least.clamp(min=0.0)), exact_vector(most.clamp(min=0.0))
    return _length(low, problem.output_norm, up=False), _length(high, problem.output_norm, up=True)


def exact_vector(x: Tensor) -> Vector:
    """Float64 numbers as integers over one power of two."""
    pairs = [number.as_integer_ratio() for number in x.reshape(-1).tolist()]
    shift = max((denominator.bit_length() - 1 for _, denominator in pairs), default=0)
    whole = [numerator << (shift - denominator.bit_length() + 1) for numerator, denominator in pairs]
    vector = np.empty(len(whole), dtype=object)
    vector[:] = whole
    return vector, -shift


def distance(x: Tensor, y: Tensor, p: Norm) -> Fraction:
    """At least ||x - y||_p: in integers, rounded up once; for many entries in float64, rounded up at every step."""
    size = torch.nextafter((x - y).abs(), torch.full_like(x, math.inf))
    largest = float(size.max()) if size.numel() else 0.0
    exponent = math.frexp(largest)[1]
    if size.numel() <= MANY or abs(exponent) > FAR or not math.isfinite(largest):
        return _length(_difference(exact_vector(x), exact_vector(y)), p, up=True)
    scaled, outward = size * 2.0**-exponent, 1.0 + 2.0**-50
    if p == "inf":
        return Fraction(largest)
    entries = scaled if p == "1" else scaled * scaled
    total = math.fsum(entries.tolist()) * outward + len(entries) * 2.0**-1000
    return Fraction((total if p == "1" else math.sqrt(total)) * outward) * Fraction(2) ** exponent


def _difference(one: Vector, other: Vector) -> Vector:
    (a, e), (b, f) = one, other
    base = min(e, f)
    return abs(a * (1 << (e - base)) - b * (1 << (f - base))), base


def _length(vector: Vector, p: Norm, *, up: bool) -> Fraction:
    """The p-norm of non-negative integers times 2^e, to EXTRA_BITS beyond float64 where it is a root."""
    entries, exponent = vector
    unit = Fraction(2) ** exponent
    if p != "2":
        return unit * int(max(entries, default=0) if p == "inf" else sum(entries.tolist()))
    square = sum(n * n for n in entries.tolist()) << (2 * EXTRA_BITS)
    root = math.isqrt(square)
    return unit * Fraction(root + (up and root * root < square), 1 << EXTRA_BITS)


def _down(value: Fraction) -> float:
    """The largest float64 number that is not greater, of those that are finite."""
    try:
        rounded = float(value)
    except OverflowError:
        return math.nextafter(math.inf, 0.0)
    return math.nextafter(rounded, -math.inf) if Fraction(rounded) > value else rounded


def _up(value: Fraction) -> float:
    try:
        rounded = float(value)
    except OverflowError:
        return math.inf
    return math.nextafter(rounded, math.inf) if Fraction(rounded) < value else rounded
