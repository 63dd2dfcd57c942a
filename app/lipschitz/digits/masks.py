"""Masks of -inf in long arithmetic: a large negative number takes their place, where that makes no difference.

The graph tells which values may hold -inf. They may be added to, moved, chosen from, and read by a softmax; there
exp(x - m) is between 0 and the smallest number for either. Anything else that reads them is `Unable`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx

from ..artifact.graphs import operator_name
from ..network.rules.movement import CHOICES, IDENTITIES, MOVEMENTS
from .number import Number, Unable, ends

MASKED = -(2.0**16)
"""Stands for -inf."""
REAL = 2.0**13
"""Bounds the other entries of such a tensor."""

CARRYING = frozenset(f"aten.{name}" for name in ("add.Tensor", "_to_copy.default", *MOVEMENTS, *IDENTITIES, *CHOICES))
MAKING = frozenset(
    f"aten.{name}" for name in ("scalar_tensor.default", "full.default", "full_like.default", "new_full.default")
)
READING = frozenset(
    f"aten.{name}" for name in ("_softmax.default", "_safe_softmax.default", "isnan.default", "eq.Scalar", "ne.Scalar")
)


def masked(graph: fx.GraphModule) -> set[fx.Node]:
    """The nodes whose values may hold -inf."""
    nodes: set[fx.Node] = set()
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            tensor = getattr(graph, str(node.target))
            held = isinstance(tensor, Tensor) and tensor.is_floating_point() and _lowest(tensor) == -math.inf
        else:
            held = -math.inf in (*node.args, *node.kwargs.values()) or (
                any(source in nodes for source in node.all_input_nodes) and operator_name(node) not in READING
            )
        if held:
            nodes.add(node)
    return nodes


def _lowest(tensor: Tensor) -> float:
    return float(tensor.detach().min()) if tensor.numel() else 0.0


def without_infinity(x: Any) -> Any:
    """MASKED in place of -inf, in a tensor or a number."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return torch.where(x == -math.inf, MASKED, x)
    return MASKED if isinstance(x, float) and x == -math.inf else x


def require_apart(node: fx.Node, values: list[Any]) -> None:
    """Unable where an operator may not read -inf, or where other entries come near what stands for it."""
    if operator_name(node) not in CARRYING | READING | MAKING:
        raise Unable(f"{operator_name(node)} of a mask")
    for value in values:
        if isinstance(value, Number):
            lower, upper = ends(value)
            if not bool(((upper <= MASKED / 4) | ((lower >= -REAL) & (upper <= REAL))).all()):
                raise Unable("values that are too large beside a mask")
