"""How a node is reached from a node before it."""

from __future__ import annotations

from typing import NamedTuple

from ..network.nodes import Node
from ..operators.base import LinearOperator


class Way(NamedTuple):
    """The map into a node from one of the nodes before it, and its constant."""

    source: Node
    operator: LinearOperator | None
    factor: float
