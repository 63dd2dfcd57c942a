"""How much a search does, in multiplications that are counted beforehand and not in seconds that pass.

What a search plans follows from the network and the options alone, so that one seed has one answer on an idle machine
and on a busy one. A clock only ends a search whose time is really over.
"""

from __future__ import annotations

from ..network.nodes import Affine, Concat, Network
from ..operators.composite import work
from .jacobian import products

PER_VALUE = 20.0
"""Multiplications that computing, reading and writing one entry of a node's value is worth."""

STEP = 6.0
"""Evaluations of a point that a step of an ascent is worth: two forward, and the way back."""


def forward_work(network: Network) -> float:
    """Multiplications, about, of the network's affine maps at one point."""
    maps = (node for node in network.nodes if isinstance(node, Affine | Concat))
    return sum(work(term.operator) for node in maps for term in node.terms)


def point_work(network: Network) -> float:
    """The same with what its values cost."""
    return forward_work(network) + PER_VALUE * sum(node.size for node in network.nodes)


def norm_work(network: Network) -> float:
    """What the Jacobian's norm at one point is worth."""
    return products(network) * point_work(network)


def step_work(network: Network) -> float:
    """What a step of one ascent is worth."""
    return STEP * point_work(network)


def within(effort: float, each: float, most: int, least: int = 1) -> int:
    """How many of what is worth `each` fit into the effort: between `least` and `most`."""
    return max(least, min(most, int(effort / each)))
