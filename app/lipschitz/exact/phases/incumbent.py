"""The best attained slope so far, with its pair of points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...deadline import NEVER, Deadline
from ...problem import Problem, Witness
from .bounds import enclosing_work
from .model import Model
from .node import Node
from .witness import attained_norms, best_pair, jacobians

SCALES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Spreads of the first points: patterns near the origin and far out differ."""
SAMPLES = 512
STEP_WORK = 2e9
"""Multiplications between two looks at the clock, if one point does not take more."""
NEWS = 1e-9
"""A point must promise that much more, relatively, for a new pair."""


class Incumbent:
    """Takes points whose Jacobian's norm beats the best pair, and builds a pair there."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._home = problem, torch.get_default_device()
        self._model: Model | None = None
        self.witness: Witness | None = None

    @property
    def value(self) -> float:
        """The attained slope; 0 before there is a pair."""
        return self.witness.value if self.witness else 0.0

    def start(self, model: Model, deadline: Deadline = NEVER) -> None:
        """Begin with random points of very different sizes; one at least, and as many as the deadline allows."""
        batch = max(1, min(SAMPLES, int(STEP_WORK / enclosing_work(model))))
        self._model = model
        for scale in SCALES:
            with torch.device(self._home):
                generator = torch.Generator(self._home).manual_seed(self._problem.seed)
                points = self._problem.domain.sample(SAMPLES, model.size, scale, generator).cpu()
            for part in points.split(batch):
                if self.witness is not None and deadline.passed:
                    return
                self.take(part, torch.zeros(len(part), dtype=torch.float64))

    def offer(self, nodes: Sequence[Node]) -> None:
        """The points inside nodes."""
        points = [node.inside for node in nodes if node.inside is not None]
        if points:
            radii = torch.tensor([node.radius for node in nodes], dtype=torch.float64)
            self.take(torch.from_numpy(np.stack(points)), radii)

    def take(self, points: Tensor, radii: Tensor) -> None:
        """Build a pair at the steepest of points `(B, n)` with room of `radii`, `(B,)`, around them."""
        assert self._model is not None
        norms = attained_norms(jacobians(self._model, points), self._problem.p)
        best = int(norms.argmax())
        if self.witness and float(norms[best]) <= self.value * (1.0 + NEWS):
            return
        pair = best_pair(self._problem, self._model, points[best].to(self._home), float(radii[best]))
        if self.witness is None or pair.value > self.value:
            self.witness = pair


class Reached(Incumbent):
    """A value that is known already: nothing is tried, and bounds up to there are good enough."""

    def __init__(self, problem: Problem, value: float) -> None:
        super().__init__(problem)
        self._value = value

    @property
    def value(self) -> float:
        return self._value

    def offer(self, nodes: Sequence[Node]) -> None:
        """Not needed."""
