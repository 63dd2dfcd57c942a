"""Rounding steps as their argument plus bounded noise, where a request asks for that (docs/decisions/0035).

A captured graph that rounds what depends on the input becomes one that does not: x for floor(x), which is x + d with
-1 < d <= 0. The marks that take the steps' places remember how far d may be from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor, fx

from ..artifact.captured import Captured
from ..artifact.graphs import dependent_nodes
from .scalars.rounded import Rounded

aten = torch.ops.aten
Noise = tuple[float, float]

FLOOR, CEIL, NEAREST, TRUNC = (-1.0, 0.0), (0.0, 1.0), (-0.5, 0.5), (-1.0, 1.0)
STEPS: Mapping[object, Noise] = {
    aten.floor.default: FLOOR,
    aten.ceil.default: CEIL,
    aten.round.default: NEAREST,
    aten.trunc.default: TRUNC,
}
"""By operator, the ends of d in its value x + d."""
DIVISIONS: Mapping[object, Noise] = {"floor": FLOOR, "trunc": TRUNC}
"""By the mode of a quotient that is rounded."""
QUOTIENTS = (aten.floor_divide.default, aten.div.Tensor_mode, aten.div.Scalar_mode)
CASTS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})
MOST_DECIMALS = 300


def rounded(x: Tensor, noise: Noise, limits: Noise | None = None) -> Tensor:  # noqa: ARG001 - for the builder
    """The mark of a rounding step: the identity, the noise left out."""
    return x


def scalar_of(noise: Noise, limits: Noise | None = None) -> Rounded:
    """What the mark stands for."""
    return Rounded(lambda x: x, *noise, limits)


def with_noise(captured: Captured) -> Captured:
    """The model with its rounding steps marked as noise; changes the graph in place. Others are left to be refused."""
    graph = captured.graph.graph
    dependent = dependent_nodes(captured.graph)
    for node in list(graph.nodes):
        if node.op == "call_function" and node in dependent:
            _mark(graph, node)
    graph.lint()
    captured.graph.recompile()
    return replace(captured)


def _mark(graph: fx.Graph, node: fx.Node) -> None:
    source, noise, limits = node.args[0] if node.args else None, _noise(node), None
    if _is_cast_back(node):
        noise, limits = TRUNC, _ends(node)
    if noise is None or not isinstance(source, fx.Node):
        return
    with graph.inserting_before(node):
        if node.target in QUOTIENTS:
            divided = graph.call_function(aten.div.Tensor, (source, node.args[1]))
            divided.meta = dict(node.meta)
            source = divided
        mark = graph.call_function(rounded, (source, noise, limits))
    mark.meta = dict(node.meta) | ({} if limits is None else {"datatype": source.meta.get("datatype")})
    node.replace_all_uses_with(mark)
    graph.erase_node(node)


def _noise(node: fx.Node) -> Noise | None:
    if node.target == aten.round.decimals:
        return _to_decimals(node.kwargs.get("decimals"))
    if node.target == aten.floor_divide.default:
        return FLOOR
    if node.target in QUOTIENTS:
        return DIVISIONS.get(node.kwargs.get("rounding_mode"))
    return STEPS.get(node.target)


def _to_decimals(decimals: object) -> Noise | None:
    """Half of 10^-decimals, rounded up."""
    if not isinstance(decimals, int) or abs(decimals) > MOST_DECIMALS:
        return None
    half = math.nextafter(float(Fraction(1, 2) / Fraction(10) ** decimals), math.inf)
    return -half, half


def _is_cast_back(node: fx.Node) -> bool:
    """Whether this is a cast to integers that are only read by casts back."""
    return _cast(node) in CASTS and bool(node.users) and all(
        (back := _cast(user)) is not None and back.is_floating_point for user in node.users
    )  # fmt: skip


def _cast(node: fx.Node) -> torch.dtype | None:
    if node.target not in (aten._to_copy.default, aten.to.dtype):
        return None
    given = node.kwargs.get("dtype", node.args[1] if len(node.args) > 1 else None)
    return given if isinstance(given, torch.dtype) else None


def _ends(node: fx.Node) -> Noise:
    info = torch.iinfo(_cast(node) or torch.int8)
    return float(info.min), math.nextafter(float(info.max), 0.0)
