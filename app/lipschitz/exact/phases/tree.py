"""The tree that a search has grown, kept for the certificate of its bound."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Model
from .node import Branch, Node

MOST_LEAVES = 20_000
"""Of a tree that is kept: a few megabytes as JSON."""


class Tree:
    """All branches from `root` on, as long as they are few: `kept`."""

    def __init__(self, model: Model, root: Node) -> None:
        assert root.branch is not None
        self.root, self._leaves = root.branch, 1
        self.reason = None if _is_ramp(model) else "an activation has other kinks than one at 0"

    @property
    def kept(self) -> bool:
        """Whether the tree is whole."""
        return self.reason is None

    def divide(self, node: Node, split: tuple[int, int], below: Node | None, above: Node | None) -> None:
        """Note that a node was split."""
        if not self.kept:
            return
        self._leaves += 1
        if self._leaves > MOST_LEAVES:
            self.root, self.reason = Branch(None), f"the tree has more than {MOST_LEAVES} leaves"
            return
        assert node.branch is not None
        node.branch.divide(split, below, above)

    def preorder(self) -> Iterator[Branch]:
        """Every branch before its halves, the lower half first."""
        open_ = [self.root]
        while open_:
            branch = open_.pop()
            yield branch
            open_ += [half for half in (branch.above, branch.below) if half is not None]


def _is_ramp(model: Model) -> bool:
    """Whether every activation is two lines that meet at the origin, or one line through it."""
    return all(
        layer.pieces.kinks.shape[1] <= 1
        and not bool(layer.pieces.kinks.any())
        and not bool(layer.pieces.intercepts.any())
        and not bool(layer.bias_radius.any())
        for layer in model.layers
    )
