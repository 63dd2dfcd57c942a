"""Chains of affine layers with elementwise activations between, inside any graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...network.nodes import Activation, Affine, Concat, Network, Node, Term


@dataclass(frozen=True, eq=False)
class Layer:
    """One affine map of a chain, `term`, as a part of `node`."""

    node: Affine | Concat
    term: Term


@dataclass(frozen=True, eq=False)
class Chain:
    """M_K D_{K-1} ... D_1 M_1, the only way on from every value inside; K is at least 2."""

    layers: tuple[Layer, ...]
    activations: tuple[Activation, ...]

    @property
    def source(self) -> Node:
        """What the first layer reads."""
        return self.layers[0].term.source


def chains(network: Network) -> list[Chain]:
    """All maximal chains, in topological order.

    Two layers are linked by an activation that only the second reads, of a value that is the first alone and that
    only the activation reads. The first layer may read anything, the last one may be a summand or a block.
    """
    links = _links(network)
    inner = {following.term for _, following in links.values()}
    return [_followed(layer, links) for layer in _layers(network) if layer.term in links and layer.term not in inner]


def _layers(network: Network) -> list[Layer]:
    return [Layer(node, term) for node in network.nodes if isinstance(node, Affine | Concat) for term in node.terms]


def _links(network: Network) -> dict[Term, tuple[Activation, Layer]]:
    """By the term of the first layer: the activation and the second layer."""
    readers: dict[Node, list[Node]] = {}
    for node in network.nodes:
        for source in node.sources:
            readers.setdefault(source, []).append(node)
    links = {}
    for layer in _layers(network):
        activation = layer.term.source
        if isinstance(activation, Activation) and len(readers[activation]) == 1:
            before = activation.source
            if isinstance(before, Affine) and len(before.terms) == 1 and len(readers[before]) == 1:
                links[before.terms[0]] = (activation, layer)
    return links


def _followed(first: Layer, links: Mapping[Term, tuple[Activation, Layer]]) -> Chain:
    layers, activations = [first], []
    while layers[-1].term in links:
        activation, following = links[layers[-1].term]
        layers.append(following)
        activations.append(activation)
    return Chain(tuple(layers), tuple(activations))
