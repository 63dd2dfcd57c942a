"""Two models as the networks that a comparison is computed on: each alone, their difference, and how it comes about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from ..agreement import check_agreement
from ..artifact.captured import Origin
from ..deadline import Deadline
from ..digits.constants import Sharpener
from ..domain import Domain
from ..errors import ConversionMismatch
from ..network.build import outputs_of, values_in
from ..network.builder import Builder
from ..network.nodes import Affine, Network, Node, Term
from ..operators import algebra
from ..operators.reshape import Reshape
from .change import Changes, Layer, makers
from .join import Joint

TOLERANCE = 1e-9
"""Relative to the outputs: the difference carried from layer to layer and the outputs' own, both in float64."""
POINTS = 8


@dataclass(frozen=True, eq=False)
class Difference:
    """`first` and `second` are the two models, `plain` their outputs subtracted, `carried` the same, layer by layer.

    All stand on the same nodes. `layers` are those of `carried` where something new comes in.
    """

    first: Network
    second: Network
    plain: Network
    carried: Network
    layers: tuple[Layer, ...]
    own: frozenset[Node]
    """The nodes of `carried` that are differences."""


def differ(joint: Joint, deadline: Deadline, domain: Domain, seed: int) -> Difference:
    """The networks of a joint graph, which must compute what the graph computes on random points of the domain.

    Raises the refusals of the rules, ConversionMismatch where they disagree.
    """
    captured = joint.captured
    builder = Builder([spec.shape for spec in captured.inputs])
    values = values_in(captured, builder, Sharpener(captured, deadline))
    first = _network(builder, joint, values, joint.first)
    second = _network(builder, joint, values, joint.second)
    check_agreement(first, captured, joint.first, seed, domain)
    check_agreement(second, captured, joint.second, seed, domain)
    carried = _carried(builder, captured.graph, values, first, second)
    _check(carried, domain, seed)
    return carried


def _network(builder: Builder, joint: Joint, values: dict[fx.Node, Any], positions: list[int]) -> Network:
    outputs = outputs_of(builder, joint.captured.graph.graph.output_node(), values, positions)
    return builder.finish(outputs, Origin("output", "Concat"))


def _carried(
    builder: Builder, graph: fx.GraphModule, values: dict[fx.Node, Any], first: Network, second: Network
) -> Difference:
    changes = Changes(builder, first.input, makers(graph, values), values)
    end = changes.of(first.output, second.output)
    both = tuple(dict.fromkeys((*first.nodes, *second.nodes)))
    plain = _subtracted(first.output, second.output)
    last = plain if end is None else end
    inner = [node for node in changes.nodes if node is not last]
    own = _needed(inner, last)
    layers = tuple(layer for layer in changes.layers if layer.node in own)
    carried = Network((*both, *(node for node in inner if node in own), last))
    return Difference(first, second, Network((*both, plain)), carried, layers, frozenset(own))


def _needed(nodes: list[Node], last: Node) -> set[Node]:
    """Those of the nodes that `last` depends on, and it."""
    needed = {last, *last.sources}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.sources)
    return needed & {*nodes, last}


def _subtracted(a: Node, b: Node) -> Affine:
    terms = (Term(a, Reshape(a.shape, a.shape)), Term(b, algebra.scale(Reshape(b.shape, a.shape), -1.0)))
    return Affine(a.shape, (Origin("difference", "Sub"),), terms, None, 0, "merge")


def _check(difference: Difference, domain: Domain, seed: int) -> None:
    """ConversionMismatch unless what is carried is what the outputs differ by."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    x = domain.sample(POINTS, difference.first.input.size, 1.0, generator)
    first, second, carried = difference.first(x), difference.second(x), difference.carried(x)
    apart, size = (carried - (first - second)).abs(), _size(first) + _size(second)
    if bool((apart > TOLERANCE * size).any()):
        raise ConversionMismatch("the difference of the models does not follow from their layers: please report them")


def _size(y: Tensor) -> Tensor:
    return y.abs().amax(1, keepdim=True).clamp(min=1e-30)
