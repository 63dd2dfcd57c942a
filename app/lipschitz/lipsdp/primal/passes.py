"""One pass of a batch of trajectories through a part of the network, forwards or backwards, matrix-free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...network.nodes import Activation, Affine, Concat, Node

Answer = Callable[[Activation, Tensor], Tensor]
"""What an activation makes of what reaches it, `(B, n)` -> `(B, n)`."""


@dataclass(frozen=True, eq=False)
class Passes:
    """The linear maps from `start` through `nodes`, biases left out; the last of the nodes is the output."""

    start: Node
    nodes: Sequence[Node]

    @property
    def end(self) -> Node:
        return self.nodes[-1]

    def forward(self, x: Tensor, answer: Answer) -> Tensor:
        """The output's trajectories for those of the start, `(B, n)` -> `(B, p)`."""
        values = {self.start: x}
        for node in self.nodes:
            values[node] = self._value(node, values, answer)
        return values[self.end]

    def backward(self, y: Tensor, answer: Answer) -> Tensor:
        """The adjoint pass, `(B, p)` -> `(B, n)`."""
        adjoints: dict[Node, Tensor] = {self.end: y}
        for node in reversed(self.nodes):
            if node in adjoints:
                for source, part in self._pulled(node, adjoints.pop(node), answer):
                    adjoints[source] = adjoints[source] + part if source in adjoints else part
        return adjoints.get(self.start, y.new_zeros(len(y), self.start.size))

    @staticmethod
    def _value(node: Node, values: dict[Node, Tensor], answer: Answer) -> Tensor:
        if isinstance(node, Activation):
            return answer(node, values[node.source])
        assert isinstance(node, Affine | Concat), type(node).__name__
        parts = [term.operator.mv(values[term.source]) for term in node.terms]
        return torch.cat(parts, 1) if isinstance(node, Concat) else torch.stack(parts).sum(0)

    @staticmethod
    def _pulled(node: Node, y: Tensor, answer: Answer) -> list[tuple[Node, Tensor]]:
        if isinstance(node, Activation):
            return [(node.source, answer(node, y))]
        assert isinstance(node, Affine | Concat), type(node).__name__
        sizes = [term.operator.out_size for term in node.terms]
        pieces = y.split(sizes, 1) if isinstance(node, Concat) else [y] * len(sizes)
        return [(term.source, term.operator.rmv(piece)) for term, piece in zip(node.terms, pieces, strict=True)]
