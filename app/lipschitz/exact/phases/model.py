"""A piecewise linear network in stacked form: every layer is an affine map of the input and all earlier layers.

With xi = (x, z_1, ..., z_K): a_k = W_k xi + b_k and z_k = phi_k(a_k) entry by entry. An affine node that other affine
nodes read becomes a layer with one piece of slope 1, so that stored weights are never multiplied with each other:
all numbers here are those of the model, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import MethodSkipped
from ...network.nodes import Activation, Affine, Concat, Network, Node
from ...operators.base import LinearOperator
from ...operators.composite import Stack, Sum, leaves
from ...operators.gather import Gather
from ...operators.reshape import Reshape
from .pieces import Pieces, identity, pieces_of

MOST_NEURONS = 2048
MOST_ENTRIES = 2**22


@dataclass(frozen=True, eq=False)
class Layer:
    """z = phi(W xi + b) for the `W.shape[1]` values before it; `W` is `(n, n_0 + ... + n_(k-1))`.

    The exact b lies within `bias_radius`, `(n,)`: 0 but where biases were computed in floating point.
    """

    weight: Tensor
    bias: Tensor
    bias_radius: Tensor
    pieces: Pieces

    @property
    def size(self) -> int:
        return self.weight.shape[0]


@dataclass(frozen=True, eq=False)
class Model:
    """All layers, the output last."""

    size: int
    layers: tuple[Layer, ...]

    @property
    def ends(self) -> list[int]:
        """The first neuron of every layer, counted through, and the number of all neurons."""
        return list(accumulate((layer.size for layer in self.layers), initial=0))


def read_columns(model: Model) -> list[Tensor]:
    """For every number of layers the values so far that later layers read, as numbers; the whole input for none."""
    last = model.layers[-1]
    reads, columns = torch.arange(last.weight.shape[1] + last.size) >= last.weight.shape[1], []
    for layer in reversed(model.layers):
        columns.append(torch.nonzero(reads).flatten())
        start = layer.weight.shape[1]
        reads = reads[:start] | layer.weight.any(0)
    return [*columns, torch.arange(model.size)][::-1]


def in_blocks(model: Model, most: int) -> Model:
    """The same network with at most `most` neurons in every layer but the last."""
    layers = []
    for layer in model.layers[:-1]:
        table = layer.pieces
        for rows in torch.arange(layer.size).split(most):
            weight = pad(layer.weight[rows], (0, int(rows[0])))
            pieces = Pieces(table.kinks[rows], table.slopes[rows], table.intercepts[rows])
            layers.append(Layer(weight, layer.bias[rows], layer.bias_radius[rows], pieces))
    return replace(model, layers=(*layers, model.layers[-1]))


def stacked(network: Network) -> Model:
    """The network in stacked form; MethodSkipped names the node that does not fit."""
    columns: dict[Node, range] = {network.input: range(network.input.size)}
    layers: list[Layer] = []
    width = network.input.size
    for node in layer_nodes(network):
        _require_small(width, node)
        layers.append(_layer(node, columns, width))
        columns[node] = range(width, width + node.size)
        width += node.size
    return Model(network.input.size, tuple(layers))


def layer_nodes(network: Network) -> list[Node]:
    """The nodes whose values are the layers' of the stacked form."""
    read = {source for node in network.nodes if not isinstance(node, Activation) for source in node.sources}
    return [n for n in network.nodes[1:] if isinstance(n, Activation) or n in read or n is network.output]


def _require_small(width: int, node: Node) -> None:
    if width + node.size > MOST_NEURONS or (width + node.size) * node.size > MOST_ENTRIES:
        raise MethodSkipped(f"the network is too large: more than {MOST_NEURONS} inputs and neurons at {_place(node)}")


def _layer(node: Node, columns: dict[Node, range], width: int) -> Layer:
    if not isinstance(node, Activation):
        return Layer(*_rows(node, columns, width), identity(node.size))
    pieces = pieces_of(node.scalar, node.size)
    if pieces is None:
        raise MethodSkipped(f"{_place(node)} is not known to be piecewise linear with exact slopes and kinks")
    return Layer(*_rows(node.source, columns, width), pieces)


def _rows(node: Node, columns: dict[Node, range], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """A node as an affine map of all values so far: matrix, bias and the bias's radius."""
    weight = torch.zeros(node.size, width, dtype=torch.float64)
    zeros = torch.zeros(node.size, dtype=torch.float64)
    if node in columns:
        weight[:, columns[node].start : columns[node].stop] = torch.eye(node.size, dtype=torch.float64)
        return weight, zeros, zeros
    if not isinstance(node, Affine | Concat):
        raise MethodSkipped(f"{_place(node)} is neither affine nor an elementwise activation")
    start = 0
    for term in node.terms:
        rows = slice(start, start + term.operator.out_size)
        place = columns[term.source]
        weight[rows, place.start : place.stop] += _stored(term.operator, node)
        start += term.operator.out_size if isinstance(node, Concat) else 0
    bias, radius = (zeros if part is None else part.cpu() for part in (node.bias, node.bias_radius))
    return weight, bias, radius


def _stored(operator: LinearOperator, node: Node) -> Tensor:
    """The matrix of an operator whose entries are stored numbers."""
    weights = [leaf for leaf in leaves(operator) if not _moves(leaf)]
    if operator.error or len(weights) > 1 or isinstance(operator, Stack | Sum):
        raise MethodSkipped(
            f"the weights of {_place(node)} were folded in floating point (batch norm, a product of matrices, ...); "
            "regions are proved empty in exact arithmetic, which needs the stored weights"
        )
    return operator.as_matrix().cpu()


def _moves(operator: LinearOperator) -> bool:
    """Only moves entries, each to one place at most: a product with it rounds nothing."""
    return isinstance(operator, Reshape) or (isinstance(operator, Gather) and operator.multiplicity[1] <= 1)


def _place(node: Node) -> str:
    origins = "+".join(dict.fromkeys(f"{origin.op} '{origin.name}'" for origin in node.origins))
    return origins or type(node).__name__
