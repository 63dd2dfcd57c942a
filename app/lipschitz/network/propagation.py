"""The interval of every node for inputs in a domain."""

from __future__ import annotations

import math
from functools import singledispatch

import torch

from ..domain import Ball, Box, Domain, WholeSpace
from .ends import MARGIN, widened
from .intervals import Interval, enclose
from .nodes import Network, Node


def propagate(network: Network, domain: Domain) -> dict[Node, Interval]:
    """The interval of every node for inputs in the domain."""
    intervals: dict[Node, Interval] = {network.input: of_domain(domain, network.input.size)}
    for node in network.nodes[1:]:
        intervals[node] = enclose(node, *(intervals[source] for source in node.sources))
    return intervals


@singledispatch
def of_domain(domain: Domain, size: int) -> Interval:
    """The domain as an interval of flat inputs."""
    raise NotImplementedError(type(domain).__name__)


@of_domain.register
def _(domain: WholeSpace, size: int) -> Interval:  # noqa: ARG001 - one answer for all
    reach = torch.full((size,), math.inf, dtype=torch.float64)
    return Interval(-reach, reach)


@of_domain.register
def _(domain: Box, size: int) -> Interval:
    return Interval(domain.lower.expand(size).to(torch.float64), domain.upper.expand(size).to(torch.float64))


@of_domain.register
def _(domain: Ball, size: int) -> Interval:
    center = domain.center.expand(size).to(torch.float64)
    allowance = MARGIN * (center.abs() + domain.radius)
    return Interval(*widened(center - domain.radius, center + domain.radius, allowance), domain)
