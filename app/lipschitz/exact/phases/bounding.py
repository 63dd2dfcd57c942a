"""Certified bounds of nodes: the interval recursion for all, the semidefinite bound for those that it leaves open."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ...deadline import Deadline
from ...lipsdp.dense.chain import slope_bounds, slope_multipliers
from ...operators.norm import Norm
from .bounds import enclose, enclosing_work, jacobian_bounds, lost, norms, slopes
from .model import Model
from .node import Node, first_free, piece_ranges

ENTRIES = 2**24
"""Most numbers in one batch of matrices over the input and all neurons."""
STEP_WORK = 2e9
"""Multiplications between two looks at the clock, if one node does not take more."""
SEMIDEFINITE = 100.0
"""Multiplications of a semidefinite bound, about, over the cube of inputs and neurons."""
GAPS = (1e-4, 1e-6, 1e-8)
"""Of multipliers, one after the other, until all of a batch give the value."""
DONE = -1
"""The depth of a node without free neurons."""


class Bounding:
    """Bounds of ||J||_p over all slopes that a node allows; semidefinite for p = 2 and chains."""

    def __init__(self, model: Model, p: Norm) -> None:
        self._model, self._p = model, p
        self._rounding = lost(model, p)
        self._chain = chain_weights(model) if p == "2" else None
        self._ends = model.ends
        self._seconds = [0.0] * len(model.layers)

    def batch(self, most: int) -> int:
        """How many nodes to split at once."""
        side = self._model.layers[-1].weight.shape[1]
        return max(1, min(most, ENTRIES // side**2, int(STEP_WORK / enclosing_work(self._model))))

    def __call__(self, nodes: Sequence[Node], target: float, deadline: Deadline) -> list[float]:
        """Upper bounds in the nodes' order; sharp only for those above `target`, and while there is time."""
        lowest, highest = piece_ranges(nodes)
        enclosure = enclose(self._model, lowest, highest)
        bounds = jacobian_bounds(enclosure, self._p, self._rounding)
        if self._chain is None:
            return bounds.tolist()
        depths = torch.tensor([first_free(node, self._ends)[0] if node.free.any() else DONE for node in nodes])
        for depth in range(len(self._model.layers)):
            chosen = (depths == depth) & (bounds > target)
            count = int(chosen.sum())
            if count and 1.5 * count * self._predicted(depth, deadline) < deadline.left:
                inner = enclosure.pre[depth][chosen, :, :-1]
                sharp = self._semidefinite(depth, inner, lowest[chosen], highest[chosen])
                bounds[chosen] = torch.minimum(bounds[chosen], sharp)
        return bounds.tolist()

    def multipliers(self, lowest: Tensor, highest: Tensor, value: float) -> list[np.ndarray | None]:
        """LipSDP's multipliers, `(N,)`, of patterns with pieces `(P, N)`; None where intervals give `value` as well."""
        enclosure = enclose(self._model, lowest, highest)
        loose = jacobian_bounds(enclosure, self._p, self._rounding) > value
        multipliers: list[np.ndarray | None] = [None] * len(lowest)
        free = lowest < highest
        if self._chain is None:
            return multipliers
        firsts = torch.where(free.any(1), free.to(torch.int8).argmax(1), DONE)
        for depth, (start, end) in enumerate(pairwise(self._ends[:-1])):
            chosen = torch.nonzero(loose & (firsts >= start) & (firsts < end)).flatten()
            inequality = self._inequality(depth, enclosure.pre[depth][chosen, :, :-1], lowest[chosen], highest[chosen])
            if not (len(chosen) and inequality[1]):
                continue
            for index, row in zip(chosen.tolist(), _sharp(*inequality, value), strict=True):
                multipliers[index] = np.concatenate(
                    [np.zeros(start), row, np.zeros(lowest.shape[1] - start - len(row))]
                )
        return multipliers

    def _predicted(self, depth: int, deadline: Deadline) -> float:
        """Seconds of one semidefinite bound: as the last one took, or by the pace of the machine."""
        side = self._model.size + sum(layer.size for layer in self._model.layers[depth:])
        return self._seconds[depth] or deadline.pace.seconds(SEMIDEFINITE * float(side) ** 3)

    def _semidefinite(self, depth: int, inner: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """The bound of the layers from `depth` on; `inner` is the fixed map into it, `(P, n_k, n)`, to rounding.

        Where only the output's own slopes are free there is nothing between: the fixed map's norm is the bound.
        """
        begun = time.monotonic()
        weights, lower, upper = self._inequality(depth, inner, lowest, highest)
        bounds = slope_bounds(weights, lower, upper) if lower else norms(inner, "2")
        self._seconds[depth] = (time.monotonic() - begun) / len(lowest)
        return (bounds + self._rounding) * (1.0 + 2.0**-50)

    def _inequality(
        self, depth: int, inner: Tensor, lowest: Tensor, highest: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The maps from `depth` on, and the slopes between them."""
        assert self._chain is not None
        ends = []
        for layer, start in zip(self._model.layers[depth:-1], self._ends[depth:], strict=False):
            own = slice(int(start), int(start) + layer.size)
            low, high = slopes(layer.pieces.slopes, lowest[:, own], highest[:, own])
            ends.append((low.squeeze(2), high.squeeze(2)))
        return [inner, *self._chain[depth + 1 :]], [low for low, _ in ends], [high for _, high in ends]


def _sharp(weights: list[Tensor], lower: list[Tensor], upper: list[Tensor], value: float) -> np.ndarray:
    """Multipliers `(P, M)`, as near to the optimum as the value asks for."""
    bounds, t = slope_multipliers(weights, lower, upper, gap=GAPS[0])
    for gap in GAPS[1:]:
        if bool((bounds <= value).all()):
            break
        others, u = slope_multipliers(weights, lower, upper, gap=gap)
        t = torch.where((others < bounds)[:, None], u, t)
        bounds = torch.minimum(bounds, others)
    return t.numpy()


def chain_weights(model: Model) -> list[Tensor] | None:
    """The weights of a network in which every layer reads the one before only; None for any other.

    Slopes of the output, at most 1 here, are left out: they cannot stretch anything.
    """
    sizes = [model.size, *(layer.size for layer in model.layers)]
    own = [layer.weight[:, -before:] for layer, before in zip(model.layers, sizes, strict=False)]
    earlier = [layer.weight[:, :-before] for layer, before in zip(model.layers, sizes, strict=False)]
    steep = bool((model.layers[-1].pieces.slopes.abs() > 1.0).any())
    if len(model.layers) < 2 or steep or any(bool(weight.any()) for weight in earlier):
        return None
    return own
