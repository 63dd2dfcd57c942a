"""Expressions in one real variable, as the fused regions of a graph give them.

A step reads earlier ones. `jet` encloses its value and slope on one side of every kink, `affine` gives the exact
coefficients (a, b) of a x + b where it is of that form, `exact` its value in rational arithmetic; both are None
where that is not known.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor

from .arithmetic import Interval
from .jets import Jet
from .scalar import LINE, Knot, Scalar, Window
from .tails import Tail

Line = tuple[Fraction, Fraction]
"""Slope and value at zero."""


@dataclass(frozen=True)
class Step(ABC):
    """One operation; `key` tells equal steps."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """The function itself, entry by entry."""

    @abstractmethod
    def jet(self, x: Jet, at: Fraction) -> Jet:
        """Enclosure over cells that lie, with the rational number `at`, between two neighbouring kinks."""

    @abstractmethod
    def exact(self, x: Fraction) -> Fraction | None:
        """The value at a rational number, where that is rational too and known."""

    @property
    def line(self) -> Line | None:
        """The coefficients of an affine function."""
        return None

    @property
    def operands(self) -> tuple[Step, ...]:
        """The steps that this one reads."""
        return ()


@dataclass(frozen=True)
class Variable(Step):
    """x."""

    def value(self, x: Tensor) -> Tensor:
        return x

    def jet(self, x: Jet, at: Fraction) -> Jet:
        """x with slope 1."""
        return x

    def exact(self, x: Fraction) -> Fraction | None:
        return x

    @property
    def line(self) -> Line | None:
        """1 x + 0."""
        return Fraction(1), Fraction(0)


@dataclass(frozen=True)
class Number(Step):
    """A constant, known up to `radius`."""

    center: float
    radius: float = 0.0

    def value(self, x: Tensor) -> Tensor:
        return torch.full_like(x, self.center)

    def jet(self, x: Jet, at: Fraction) -> Jet:
        """A constant with slope 0."""
        low, high = self.center, self.center
        if self.radius:
            low = math.nextafter(self.center - self.radius, -math.inf)
            high = math.nextafter(self.center + self.radius, math.inf)
        value = Interval.of(low, high)
        return Tail.number(value, x.start, x.side) if isinstance(x, Tail) else Jet(value, Interval.of(0.0, 0.0))

    def exact(self, x: Fraction) -> Fraction | None:
        """The number, when it is exact."""
        return None if self.radius else Fraction(self.center)

    @property
    def line(self) -> Line | None:
        """0 x + c."""
        return None if self.radius else (Fraction(0), Fraction(self.center))


@dataclass(frozen=True)
class Sum(Step):
    """f + g."""

    left: Step
    right: Step

    def value(self, x: Tensor) -> Tensor:
        """f + g."""
        return self.left.value(x) + self.right.value(x)

    def jet(self, x: Jet, at: Fraction) -> Jet:
        return self.left.jet(x, at).plus(self.right.jet(x, at))

    def exact(self, x: Fraction) -> Fraction | None:
        """f + g."""
        return both(lambda a, b: a + b, self.left.exact(x), self.right.exact(x))

    @property
    def line(self) -> Line | None:
        """The sum of two lines."""
        if self.left.line is None or self.right.line is None:
            return None
        return self.left.line[0] + self.right.line[0], self.left.line[1] + self.right.line[1]

    @property
    def operands(self) -> tuple[Step, ...]:
        return self.left, self.right


@dataclass(frozen=True)
class Product(Step):
    """f g."""

    left: Step
    right: Step

    def value(self, x: Tensor) -> Tensor:
        return self.left.value(x) * self.right.value(x)

    def jet(self, x: Jet, at: Fraction) -> Jet:
        return self.left.jet(x, at).times(self.right.jet(x, at))

    def exact(self, x: Fraction) -> Fraction | None:
        return both(lambda a, b: a * b, self.left.exact(x), self.right.exact(x))

    @property
    def line(self) -> Line | None:
        """A line times a constant."""
        if self.left.line is None or self.right.line is None:
            return None
        (a, b), (c, d) = self.left.line, self.right.line
        return (a * d + b * c, b * d) if a * c == 0 else None

    @property
    def operands(self) -> tuple[Step, ...]:
        return self.left, self.right


@dataclass(frozen=True)
class Apply(Step):
    """phi(f) for an elementwise function that has a `Scalar` of its own; `literals` are phi's parameters."""

    name: str
    literals: tuple[object, ...]
    argument: Step
    scalar: Scalar = field(compare=False)

    def value(self, x: Tensor) -> Tensor:
        """phi(f)."""
        return self.scalar.function(self.argument.value(x))

    def jet(self, x: Jet, at: Fraction) -> Jet:
        """The chain rule; an affine argument stays on its side of every knot of phi."""
        return self.argument.jet(x, at).through(self.name, self.scalar, self._window(at))

    def _window(self, at: Fraction) -> Window:
        line = self.argument.line
        if line is None:
            return LINE
        here, jumps = line[0] * at + line[1], self.jumps()
        below, above = [kink for kink in jumps if kink < here], [kink for kink in jumps if kink > here]
        return (jumps[max(below)] if below else None, jumps[min(above)] if above else None)

    def jumps(self) -> dict[Fraction, Knot]:
        """Where phi's derivative jumps, exactly known."""
        return {Fraction(float(knot.place.at)): knot for knot in self.scalar.knots if _jumps(knot)}

    def knots(self) -> list[Fraction]:
        """The places of the jumps."""
        return list(self.jumps())

    def exact(self, x: Fraction) -> Fraction | None:
        """phi at its few rational points."""
        inner = self.argument.exact(x)
        known = EXACT.get(self.name)
        return None if inner is None or known is None else known(inner)

    @property
    def operands(self) -> tuple[Step, ...]:
        return (self.argument,)


def _jumps(knot: Knot) -> bool:
    return knot.right is not None and knot.place.is_exact


def _at_zero(result: Fraction) -> Callable[[Fraction], Fraction | None]:
    return lambda x: result if x == 0 else None


EXACT: dict[str, Callable[[Fraction], Fraction | None]] = {
    "relu": lambda x: max(x, Fraction(0)),
    "abs": abs,
    "exp": _at_zero(Fraction(1)),
    "sigmoid": _at_zero(Fraction(1, 2)),
    **{name: _at_zero(Fraction(0)) for name in ("expm1", "log1p", "tanh", "erf", "atan", "asinh", "silu", "gelu")},
}


def both(combine: Callable[[Fraction, Fraction], Fraction], a: Fraction | None, b: Fraction | None) -> Fraction | None:
    """What the two make together, None where either is not known."""
    return None if a is None or b is None else combine(a, b)
