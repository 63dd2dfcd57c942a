"""From the tree of a search to what its certificate claims."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from ...claims import PhaseClaim, PhaseRecord
from ...deadline import Deadline
from ...network.nodes import Activation, Network
from .bounding import Bounding
from .model import Model, layer_nodes
from .node import Branch, Face
from .tree import Tree

BATCH = 128
"""Leaves that are bounded together."""


def phase_claim(
    network: Network, model: Model, bounding: Bounding, *, tree: Tree, value: float, deadline: Deadline
) -> PhaseClaim | None:
    """That the tree proves `value`; None where time is over."""
    branches = list(tree.preorder())
    leaves = [branch for branch in branches if branch.split is None and branch.conflict is None]
    multipliers: dict[Branch, np.ndarray | None] = {}
    for first in range(0, len(leaves), BATCH):
        if deadline.passed:
            return None
        some = leaves[first : first + BATCH]
        pieces = [branch.pieces for branch in some if branch.pieces is not None]
        lowest, highest = (torch.from_numpy(np.stack(ends)) for ends in zip(*pieces, strict=True))
        multipliers |= dict(zip(some, bounding.multipliers(lowest, highest, value), strict=True))
    numbers = _numbers(network, model)
    records = [_record(branch, multipliers.get(branch), model, numbers) for branch in branches]
    return PhaseClaim(network.input, network.output, value, tuple(records))


def _numbers(network: Network, model: Model) -> np.ndarray:
    """The certificate's number of every neuron of the model, which counts those of activations only; -1 for others."""
    numbers, count = np.full(model.ends[-1], -1), 0
    for node, (start, end) in zip(layer_nodes(network), pairwise(model.ends), strict=True):
        if isinstance(node, Activation):
            numbers[start:end] = np.arange(count, count + node.size)
            count += node.size
    return numbers


def _record(branch: Branch, multipliers: np.ndarray | None, model: Model, numbers: np.ndarray) -> PhaseRecord:
    if branch.split is not None:
        layer, neuron = branch.split
        return PhaseRecord(split=int(numbers[model.ends[layer] + neuron]))
    if branch.conflict is not None:
        return PhaseRecord(rows=_rows(branch.conflict, model, numbers))
    if multipliers is None:
        return PhaseRecord()
    assert branch.pieces is not None
    kinks = np.concatenate([np.full(layer.size, layer.pieces.kinks.shape[1]) for layer in model.layers])
    loose = (branch.pieces[0] < branch.pieces[1]) | (kinks == 0)
    return PhaseRecord(multipliers=np.maximum(multipliers[loose & (numbers >= 0)], 0.0).tolist())


def _rows(conflict: Sequence[Face | int], model: Model, numbers: np.ndarray) -> list[int]:
    """Borders by their own numbers, neurons after them."""
    return [
        face if isinstance(face, int) else 2 * model.size + int(numbers[model.ends[face.layer] + face.neuron])
        for face in conflict
    ]
