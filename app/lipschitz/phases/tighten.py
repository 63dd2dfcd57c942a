"""Phases that a node's polytope leaves no choice in: found from the corners for two inputs, proved exactly.

A neuron whose pre-activation keeps its side of a kink everywhere is fixed without a split, layer after layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.lipschitz.phases.bounds import enclose
from app.lipschitz.phases.emptiness import Proofs
from app.lipschitz.phases.model import Model
from app.lipschitz.phases.node import Face, Node, first_free, fixed, piece_ranges
from app.lipschitz.phases.polygon import Polygon, polygon


def tightened(model: Model, proofs: Proofs, nodes: Sequence[Node]) -> list[Node]:
    """The nodes with all proved phases of their first free layers fixed; the nodes themselves for other dimensions."""
    if model.size != 2:
        return list(nodes)
    found, pending = list(nodes), [i for i, node in enumerate(nodes) if node.free.any()]
    shapes = {i: polygon(nodes[i].rows) for i in pending}
    while pending:
        pre = [rows.numpy() for rows in enclose(model, *piece_ranges([found[i] for i in pending])).pre]
        before = [first_free(found[i], proofs.ends)[0] for i in pending]
        for k, i in enumerate(pending):
            found[i] = _layer_fixed(model, proofs, found[i], shapes[i], [rows[k] for rows in pre])
        pending = [i for i, layer in zip(pending, before, strict=True) if _moved_on(found[i], proofs.ends, layer)]
    return found


def _moved_on(node: Node, ends: Sequence[int], layer: int) -> bool:
    return bool(node.free.any()) and first_free(node, ends)[0] > layer


def _layer_fixed(model: Model, proofs: Proofs, node: Node, shape: Polygon | None, pre: list[np.ndarray]) -> Node:
    """The first free layer's proved phases."""
    if shape is None:
        return node
    layer, neurons = first_free(node, proofs.ends)
    table = model.layers[layer].pieces.kinks.numpy()
    for neuron in neurons:
        place = int(proofs.ends[layer]) + int(neuron)
        for kink in range(int(node.lowest[place]), int(node.highest[place])):
            row = pre[layer][neuron].copy()
            row[-1] -= table[neuron, kink]
            sign = _side(proofs, node, shape, Face(layer, int(neuron), kink, 1), row)
            if sign:
                node = fixed(node, place, kink, above=sign > 0)
                if sign < 0:
                    break
    return node


def _side(proofs: Proofs, node: Node, shape: Polygon, face: Face, row: np.ndarray) -> int:
    """1 or -1 where the pre-activation is proved to stay above or below the kink; 0 where it is not."""
    values = shape.values(row[None])[0]
    sign = 1 if values.min() >= 0 else -1 if values.max() <= 0 else 0
    if sign == 0:
        return 0
    edges = shape.supports(int(np.argmin(sign * values)))
    other = replace(face, sign=-sign)
    child = replace(node, faces=(*node.faces, other), rows=np.vstack([node.rows, -sign * row]))
    supports = [[*edges, len(node.rows)], *([edge, len(node.rows)] for edge in edges), [len(node.rows)]]
    return sign if proofs.empty(child, supports) else 0
