"""All slopes at their ends: the constant of a network of any size whose open neurons are few.

On a small domain most neurons have one slope and fold into the next map (`lipsdp.region`). What is left is the system
z = S (V_x x + V_z z), y = C_x x + C_z z of M open neurons. Its Jacobian C_x + C_z (I - S V_z)^-1 S V_x is affine in
each slope apart, so its norm, which is convex, is largest at one of the 2^M vertices; each is bounded with all its
rounding. A vertex that no point of the domain takes counts as well: so the value bounds from above.

Rounding counts in the 2-norm (`folded`); other norms of a matrix of sides m and n are at most sqrt(max(m, n)) times
that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..certificate.fields import InvalidCertificate
from ..certificate.ramps import Ramps
from ..claims import Claim, PhaseClaim, PhaseRecord
from ..deadline import Deadline, OutOfTime
from ..domain import WholeSpace
from ..errors import MethodSkipped
from ..lipsdp.region import Region, region_of, varying
from ..lipsdp.sizes import open_neurons
from ..network.nodes import Activation, Affine, Concat
from ..operators.base import LinearOperator
from ..operators.composite import work
from ..operators.dense_norm import spectral_norm
from ..operators.norm import Norm
from ..operators.rounding import gamma, up_ldexp
from ..problem import Estimate, Problem
from ..walk.pieces import Piece, constants_within
from .folded import OUTWARD, Folded

LARGEST = 16
"""Most open neurons: 65,536 vertices."""
MOST_ENTRIES = 2**22
"""Of the matrices of one batch."""
MOST_CHECKING = 2e10
"""Multiplications of the check of a tree, leaf by leaf, for which there is a claim."""


def count_open(problem: Problem) -> int:
    """Neurons of the whole network that can have more than one slope on the domain."""
    return open_neurons([node for node in problem.network.nodes if isinstance(node, Activation)], problem.local)


def by_vertices(problem: Problem, deadline: Deadline) -> Estimate | None:
    """The largest norm over all vertices; None where they are too many, or nodes are more than activations."""
    start, *nodes = problem.network.nodes
    if isinstance(problem.domain, WholeSpace) or not nodes:
        return None
    if not all(isinstance(node, Affine | Concat | Activation) for node in nodes) or count_open(problem) > LARGEST:
        return None
    constants = constants_within(problem, Piece(start, tuple(nodes)))
    if not all(math.isfinite(constant) for constant in constants.values()):
        return None
    slopes = {node: problem.local.slopes(node) for node in nodes if isinstance(node, Activation)}
    try:
        region = region_of(start, nodes[-1], nodes, slopes, constants, by_layer=False, narrow=problem.p == "2")
        value = _largest(Folded.of(region), problem.p, deadline) if isinstance(region, Region) else _of(problem, region)
    except (MethodSkipped, OutOfTime):
        return None
    count = region.system.neurons if isinstance(region, Region) else 0
    details = {"status": "vertices", "open_neurons": count, "vertices": 2**count, "gap": None}
    return Estimate("exact", value, details=details, claims=_claims(problem, value, count))


def _of(problem: Problem, operator: LinearOperator) -> float:
    """Nothing is open: the one linear map."""
    return problem.norm_of(operator).upper


def _largest(folded: Folded, p: Norm, deadline: Deadline) -> float:
    """The largest p-norm over all vertices, rounded up."""
    codes = torch.arange(2**folded.count)
    entries = (folded.c.shape[0] + folded.count) * folded.inputs
    values, sides = [], max(folded.c.shape[0], folded.inputs)
    factor = 1.0 if p == "2" else math.sqrt(sides) * OUTWARD
    for part in codes.split(max(1, MOST_ENTRIES // entries)):
        deadline.check()
        bits = (part[:, None] >> torch.arange(folded.count)) & 1
        slopes = torch.where(bits.bool(), folded.upper, folded.lower)
        values.append(_norm(folded.jacobians(slopes), p, deadline) + factor * folded.error(slopes))
    return up_ldexp(max(values) * (1.0 + 2.0**-50), folded.exponent)


def _norm(matrices: Tensor, p: Norm, deadline: Deadline) -> float:
    if not bool(torch.isfinite(matrices).all()):
        return math.inf
    if p == "2":
        return spectral_norm(matrices, deadline).upper
    sums = matrices.abs().sum(1 if p == "1" else 2)
    return float(sums.max()) * (1.0 + 2.0 * gamma(max(matrices.shape[1:]) + 1))


def _claims(problem: Problem, value: float, count: int) -> Sequence[Claim]:
    """A tree that splits every open neuron, whose leaves are bounded by their matrices, where its check is quick."""
    network = problem.network
    sizes = [term.operator for node in network.nodes if isinstance(node, Affine | Concat) for term in node.terms]
    checking = 2.0**count * sum(work(operator) * network.input.size for operator in sizes)
    if checking > MOST_CHECKING or not problem.deadline.fits(checking) or not 0.0 < value < math.inf:
        return ()
    try:
        ramps = Ramps(network.nodes)
    except InvalidCertificate:
        return ()
    neurons: list[int] = []
    for node in ramps.activations:
        free = varying(*problem.local.slopes(node)).nonzero()[:, 0]
        neurons += [ramps.first(node) + position for position in free.tolist()]
    return [PhaseClaim(network.input, network.output, value, tuple(_tree(neurons)))]


def _tree(neurons: Sequence[int]) -> list[PhaseRecord]:
    if not neurons:
        return [PhaseRecord()]
    half = _tree(neurons[1:])
    return [PhaseRecord(split=neurons[0]), *half, *half]
