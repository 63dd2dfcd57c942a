"""L-BFGS with steps that may leave the domain: D. Liu, J. Nocedal, Mathematical Programming 45 (1989)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from torch import Tensor

_MEMORY = 20
_LONGEST = 2.0
"""Largest change of one coordinate in a step: the coordinates are logarithms."""
_FIRST = 0.5
"""The same for the first step, whose length nothing tells."""
_RETREATS, _SHORTER = 12, 0.4
_SUFFICIENT = 1e-4
"""Share of the linear decrease that a step has to bring."""
_WINDOW = 4
"""Steps whose gain counts as one."""


class Smooth(Protocol):
    """A function's value and gradient at a point."""

    @property
    def value(self) -> float:
        """The value."""

    @property
    def gradient(self) -> Tensor:
        """The gradient."""


T = TypeVar("T", bound=Smooth)


def descend(function: Callable[[Tensor], T | None], x: Tensor, now: T, steps: int) -> Iterator[tuple[Tensor, T, float]]:
    """The points after every step, with the gain over the last few; ends where no step helps.

    `function` is None outside its domain; `now` is its value at `x`.
    """
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=_MEMORY)
    values = deque([float("inf")] * _WINDOW, maxlen=_WINDOW)
    for _ in range(steps):
        direction = -_times_inverse(pairs, now.gradient)
        largest = float(direction.abs().max())
        longest = _LONGEST if pairs else _FIRST
        direction = direction * (min(1.0, longest / largest) if pairs else longest / max(largest, 1e-300))
        found = _searched(function, x, now, direction)
        if found is None:
            return
        step, ahead = found
        change = ahead.gradient - now.gradient
        if float(step @ change) > 1e-12 * float(change @ change):
            pairs.append((step, change))
        gained = values[0] - ahead.value
        values.append(now.value)
        x, now = x + step, ahead
        yield x, now, gained


def _searched(function: Callable[[Tensor], T | None], x: Tensor, now: T, direction: Tensor) -> tuple[Tensor, T] | None:
    """The first of shorter and shorter steps that brings enough."""
    slope, share = float(now.gradient @ direction), 1.0
    for _ in range(_RETREATS):
        ahead = function(x + share * direction)
        if ahead is not None and ahead.value <= now.value + _SUFFICIENT * share * slope:
            return share * direction, ahead
        share *= _SHORTER
    return None


def _times_inverse(pairs: deque[tuple[Tensor, Tensor]], gradient: Tensor) -> Tensor:
    """The gradient times the inverse Hessian that the steps and the gradient's changes imply."""
    found, shares = gradient.clone(), []
    for step, change in reversed(pairs):
        shares.append(float(step @ found) / float(step @ change))
        found -= shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        found *= float(step @ change) / float(change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        found += step * (share - float(change @ found) / float(step @ change))
    return found
