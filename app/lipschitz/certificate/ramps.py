"""Elementwise functions of two lines that meet at the origin (ReLU, leaky ReLU, absolute value), neuron by neuron."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..network.nodes import Activation, Node
from ..network.scalar import Knot, Window
from .balls import Array
from .fields import InvalidCertificate
from .matrices import array


class Ramps:
    """The neurons of a network's activations, counted through in topological order.

    `slopes` are each activation's exact slopes below (-1) and above (1) zero, `(n,)`. InvalidCertificate where a
    function is not known to be s x for x <= 0 and t x for x >= 0.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._before, self._first, self.count = dict[Node, int](), dict[Activation, int](), 0
        for node in nodes:
            if isinstance(node, Activation):
                self._first[node] = self.count
                self.count += node.size
            self._before[node] = self.count
        self.slopes = {node: _slopes(node) for node in self._first}

    @property
    def activations(self) -> Sequence[Activation]:
        return list(self._first)

    def first(self, node: Activation) -> int:
        """The number of its first neuron."""
        return self._first[node]

    def before(self, node: Node) -> int:
        """How many neurons come before the node, its own included; no others can matter for its value."""
        return self._before[node]

    def place(self, neuron: int) -> tuple[Activation, int]:
        """The activation of a neuron, and its position there."""
        node = next(node for node, first in self._first.items() if first <= neuron < first + node.size)
        return node, neuron - self._first[node]


def _slopes(node: Activation) -> dict[int, Array]:
    """From the ranges of the difference quotients on both half-lines: single numbers there, and the value 0 at 0."""
    knots = node.scalar.knots
    if len(knots) > 1 or not all(_is_origin(knot) for knot in knots):
        raise InvalidCertificate(f"an activation of {node.size} neurons is not known to have its one kink at 0")
    knot = knots[0] if knots else None
    zeros, far = torch.zeros(node.size, dtype=torch.float64), torch.full((node.size,), torch.inf, dtype=torch.float64)
    if any(bool((end != 0.0).any()) for end in node.scalar.range(zeros, zeros)):
        raise InvalidCertificate("an activation is not known to be 0 at 0")
    windows: dict[int, tuple[torch.Tensor, torch.Tensor, Window]] = {
        -1: (-far, zeros, (None, knot)),
        1: (zeros, far, (knot, None)),
    }
    return {side: _single(*(array(end) for end in node.scalar.slopes(*window))) for side, window in windows.items()}


def _is_origin(knot: Knot) -> bool:
    return knot.place.is_exact and not bool(torch.as_tensor(knot.place.at).any())


def _single(lower: Array, upper: Array) -> Array:
    if not (np.array_equal(lower, upper) and np.isfinite(lower).all()):
        raise InvalidCertificate("an activation is not known to be linear on both sides of 0")
    return lower
