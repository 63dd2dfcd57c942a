"""What the forms that are matched on the captured graph ask of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx

from .call import name_of
from .values import Constant

Values = Mapping[fx.Node, Any]


def squared(node: fx.Node) -> fx.Node | None:
    """d when the node is d^2."""
    base = node.args[0] if node.args else None
    same = operator_of(node) == "mul" and len(node.args) == 2 and alike(*node.args)
    square = same or power_of(node) == 2 or operator_of(node) == "square"
    return base if square and isinstance(base, fx.Node) else None


def power_of(node: fx.Node) -> float | None:
    """The exponent of a power by a number."""
    exponent = node.args[1] if operator_of(node) == "pow" else None
    return float(exponent) if isinstance(exponent, int | float) else None


def literal(operand: Any, values: Values) -> float | None:
    """A number that is written down, or stored alone."""
    if isinstance(operand, int | float):
        return float(operand)
    value = values.get(operand) if isinstance(operand, fx.Node) else None
    exact = isinstance(value, Constant) and value.value.numel() == 1 and value.radius is None
    return float(value.value) if isinstance(value, Constant) and exact else None


def operator_of(node: fx.Node) -> str:
    """The operator of ATen, without its overload; nothing for other nodes."""
    return name_of(node).partition(".")[0] if node.op == "call_function" else ""


def alike(a: Any, b: Any, depth: int = 3) -> bool:
    """Whether two nodes are the same, or the same operator on the same operands."""
    if a is b or not (isinstance(a, fx.Node) and isinstance(b, fx.Node)):
        return a is b or (not isinstance(a, fx.Node) and bool(a == b))
    if depth == 0 or a.op != "call_function" or a.target != b.target or a.kwargs != b.kwargs:
        return False
    return len(a.args) == len(b.args) and all(alike(x, y, depth - 1) for x, y in zip(a.args, b.args, strict=True))
