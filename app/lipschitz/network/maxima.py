"""Maxima over windows written out as rectifiers: max(a, b) = a + relu(b - a), pair by pair until one value is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from ..operators.composite import Composed, Sum
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from .nodes import Activation, Affine, Concat, Node, Nonlinear, Term
from .products import MatrixProduct, Product
from .scalars import rectifiers


@dataclass(frozen=True, eq=False)
class WrittenOut:
    """The same map with no maxima. `origin` has the activation that each stands for; none for a maximum's rectifier."""

    nodes: tuple[Node, ...]
    origin: Mapping[Activation, Activation]


def is_maximum(node: Node) -> bool:
    """Whether the node is a maximum over windows that are known."""
    return isinstance(node, Nonlinear) and node.windows is not None


def written_out(nodes: Sequence[Node]) -> WrittenOut:
    """The nodes, in topological order, with every maximum as affine maps and rectifiers; unchanged without any."""
    new: dict[Node, Node] = {}
    stages: list[Node] = []
    for node in nodes:
        if is_maximum(node):
            assert isinstance(node, Nonlinear)
            stages += _maximum(node, new.get(node.source, node.source))
        else:
            stages.append(_reading(node, new))
        new[node] = stages[-1]
    origin = {new[node]: node for node in nodes if isinstance(node, Activation)}
    return WrittenOut(tuple(stages), {one: old for one, old in origin.items() if isinstance(one, Activation)})


def _reading(node: Node, new: Mapping[Node, Node]) -> Node:
    """The node with its sources replaced; itself where none is."""
    if not any(new.get(source, source) is not source for source in node.sources):
        return node
    if isinstance(node, Affine | Concat):
        terms = tuple(replace(term, source=new.get(term.source, term.source)) for term in node.terms)
        return replace(node, terms=terms)
    if isinstance(node, Activation | Nonlinear):
        return replace(node, source=new.get(node.source, node.source))
    if isinstance(node, Product | MatrixProduct):
        return replace(node, left=new.get(node.left, node.left), right=new.get(node.right, node.right))
    return node


def _maximum(node: Nonlinear, source: Node) -> list[Node]:
    """Three nodes a stage: differences of pairs, their rectifiers, and the pairs' maxima."""
    assert node.windows is not None
    windows, nodes = node.windows, list[Node]()
    while len(windows) > 1:
        pairs, odd = len(windows) // 2, windows[2 * (len(windows) // 2) :]
        first, second = windows[0 : 2 * pairs : 2].flatten(), windows[1 : 2 * pairs : 2].flatten()
        shape = (node.shape[0], pairs * node.shape[1], *node.shape[2:])
        difference = _affine(node, shape, (Term(source, _difference(source.size, first, second)),))
        rectified = Activation(shape, node.origins, difference, rectifiers.relu())
        kept = torch.cat([first, odd.flatten()])
        placed = torch.full_like(kept, -1)
        placed[: len(first)] = torch.arange(len(first))
        terms = Term(source, _gather(source.size, kept)), Term(rectified, _gather(len(first), placed))
        windows = torch.arange(len(kept)).reshape(-1, node.size)
        source = _affine(node, node.shape if len(windows) == 1 else (len(kept),), terms)
        nodes += [difference, rectified, source]
    return nodes or [_affine(node, node.shape, (Term(source, _gather(source.size, windows.flatten())),))]


def _affine(node: Node, shape: tuple[int, ...], terms: tuple[Term, ...]) -> Affine:
    return Affine(shape, node.origins, terms, None, 0, "pooling")


def _difference(size: int, first: Tensor, second: Tensor) -> LinearOperator:
    """x[second] - x[first]."""
    minus = Diagonal((len(first),), (len(first),), -torch.ones(len(first), dtype=torch.float64))
    return Sum((_gather(size, second), Composed((minus, _gather(size, first)))))


def _gather(size: int, positions: Tensor) -> Gather:
    return Gather((size,), (len(positions),), positions)
