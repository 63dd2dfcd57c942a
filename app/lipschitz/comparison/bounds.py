"""How far two models are apart on a domain: the least of several proved bounds of sup ||f - g||.

`apart` bounds each model's outputs on its own and subtracts; `intervals` and `linear` carry differences from layer to
layer, by interval arithmetic and by linear bounds found backward; `together` takes each output's best; `anchored` adds
the constant of the difference times the radius of a ball to what the models differ by at its centre.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..bounds.linear import Narrowing
from ..deadline import Deadline
from ..domain import Ball, Box, Domain, WholeSpace
from ..network.ends import total
from ..network.intervals import Interval
from ..network.nodes import Node
from ..network.propagation import propagate
from ..operators.norm import Norm
from ..operators.rounding import up_add, up_mul, widened
from ..operators.scaling import safe_norm
from .difference import Difference


@dataclass(frozen=True, eq=False)
class Known:
    """Ranges of all nodes on the domain, and the bound that each way gives; infinite where it gives none."""

    ranges: Mapping[Node, Interval]
    bounds: Mapping[str, float]


def bound(difference: Difference, domain: Domain, p: Norm, deadline: Deadline) -> Known:
    """Ranges and bounds on a domain; on the whole space those of interval arithmetic only."""
    carried = difference.carried
    plain = propagate(carried, domain)
    values = {"intervals": size(plain[carried.output], p), "apart": math.inf, "linear": math.inf}
    if isinstance(domain, WholeSpace):
        return Known(plain, values)
    wanted = {difference.first.output, difference.second.output, carried.output}
    with torch.no_grad():
        ranges = Narrowing(carried, domain, plain, deadline, wanted=wanted).run()
    apart = _apart(difference, ranges)
    met = _met(ranges[carried.output], apart)
    values |= {"linear": size(ranges[carried.output], p), "apart": size(apart, p), "together": size(met, p)}
    return Known(ranges, values)


def _apart(difference: Difference, ranges: Mapping[Node, Interval]) -> Interval:
    first, second = difference.first.output, difference.second.output
    if first not in ranges or second not in ranges:
        infinite = torch.full((first.size,), math.inf, dtype=torch.float64)
        return Interval(-infinite, infinite)
    a, b = ranges[first], ranges[second]
    return Interval(*total((a.lower, a.upper), (-b.upper, -b.lower)))


def _met(a: Interval, b: Interval) -> Interval:
    return Interval(torch.maximum(a.lower, b.lower), torch.minimum(a.upper, b.upper))


def anchored(difference: Difference, domain: Domain, p: Norm, constant: float) -> float:
    """||f - g|| at the centre of a ball plus the constant times its radius; infinite for other domains."""
    if not isinstance(domain, Ball) or domain.p != p:
        return math.inf
    centre = domain.centre(difference.carried.input.size)
    at_centre = at_point(difference, centre)
    return up_add(size(at_centre, p), up_mul(constant, domain.radius))


def at_point(difference: Difference, x: torch.Tensor) -> Interval:
    """An enclosure of what the models differ by at one flat point, `(m,)`."""
    return propagate(difference.carried, Box(x, x))[difference.carried.output]


def size(values: Interval, p: Norm) -> float:
    """At least the norm of every vector in the interval."""
    largest = values.magnitude
    if not bool(torch.isfinite(largest).all()):
        return math.inf
    return widened(float(safe_norm(largest, float(p))), len(largest) + 8)


def least_size(values: Interval, p: Norm) -> float:
    """At most the norm of every vector in the interval."""
    smallest = torch.maximum(values.lower, -values.upper).clamp(min=0.0)
    smallest = smallest.nan_to_num(nan=0.0, posinf=0.0)
    return max(0.0, float(safe_norm(smallest, float(p))) * (1.0 - 2.0**-40))
