"""Units of the inputs and outputs: the function u -> f(s u) / t is bounded in place of f, coordinate by coordinate.

Both maps become part of the captured graph, so every method, witness and certificate speaks of that function, and what
their products round is counted where all rounding is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from ..artifact.captured import Captured, Origin, TensorSpec
from ..artifact.graphs import results
from ..domain import Ball, Box, Domain
from ..operators.rounding import TINY, UNIT, up_add
from ..operators.scaling import safe_norm
from .ends import outward

Scale = float | list[float]
"""One number for all coordinates, or one each."""


@dataclass(frozen=True, eq=False)
class Units:
    """How many of the file's units make one of the user's; None where they are the same. `domain` is in the file's."""

    input: Scale | None
    output: Scale | None
    domain: Domain


def with_units(captured: Captured, outputs: Sequence[int], s: Tensor | None, t: Tensor | None) -> Captured:
    """The model in these units, for flat `s` of all inputs and `t` of the outputs chosen.

    Changes the graph in place.
    """
    graph = captured.graph
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if s is not None:
        for node, piece, spec in zip(placeholders, _pieces(s, captured.inputs), captured.inputs, strict=True):
            _scale_input(captured, node, placeholders[-1], piece, spec)
    if t is not None:
        (end,) = graph.graph.find_nodes(op="output")
        ends = list(results(graph))
        specs = [captured.outputs[position] for position in outputs]
        for position, piece, spec in zip(outputs, _pieces(t, specs), specs, strict=True):
            with graph.graph.inserting_before(end):
                stored = _stored(captured, f"output_scale_{position}", piece, ends[position])
                divided = graph.graph.call_function(torch.ops.aten.div.Tensor, (ends[position], stored))
            divided.meta = _meta(ends[position], "output scale", spec)
            ends[position] = divided
        end.args = (tuple(ends),)
    graph.graph.lint()
    graph.recompile()
    return replace(captured)


def _scale_input(captured: Captured, node: fx.Node, last: fx.Node, piece: Tensor, spec: TensorSpec) -> None:
    graph = captured.graph.graph
    with graph.inserting_after(last):
        stored = _stored(captured, f"input_scale_{node.name}", piece, node)
    with graph.inserting_after(stored):
        scaled = graph.call_function(torch.ops.aten.mul.Tensor, (node, stored))
    scaled.meta = _meta(node, "input scale", spec)
    node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)


def _stored(captured: Captured, name: str, piece: Tensor, like: fx.Node) -> fx.Node:
    captured.graph.register_buffer(name, piece)
    stored = captured.graph.graph.get_attr(name)
    stored.meta = dict(like.meta)
    return stored


def _meta(node: fx.Node, name: str, spec: TensorSpec) -> dict[str, object]:
    return dict(node.meta) | {"origin": Origin(name, "Scale"), "shape": spec.shape}


def _pieces(flat: Tensor, specs: Sequence[TensorSpec]) -> list[Tensor]:
    pieces = flat.split([torch.Size(spec.shape).numel() for spec in specs])
    return [piece.reshape(spec.shape).clone() for piece, spec in zip(pieces, specs, strict=True)]


def in_units(domain: Domain, s: Tensor) -> Domain:
    """A domain of the user's coordinates, x / s, that holds all of it, rounded outwards; a ball's radius is in them."""
    if isinstance(domain, Box):
        return Box(*_inexact(domain.lower / s, domain.upper / s, s))
    if isinstance(domain, Ball):
        middle = domain.center / s
        away = safe_norm(2.0 * UNIT * middle.abs() + TINY, float(domain.p)) * (1.0 + 2.0**-30)
        exact = bool((torch.frexp(s).mantissa == 0.5).all()) and float(middle.abs().max()) < 1e300
        return Ball(middle, domain.radius if exact else up_add(domain.radius, float(away)), domain.p)
    return domain


def _inexact(lower: Tensor, upper: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Each end moved to the next number outwards, but zeros and what is divided by 1."""
    least, most = outward(lower, upper)
    return torch.where((lower == 0.0) | (s == 1.0), lower, least), torch.where((upper == 0.0) | (s == 1.0), upper, most)
