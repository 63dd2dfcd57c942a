"""One piece of a certificate against the network: is its constant proved, and by whose arithmetic?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from ..network.maxima import written_out
from ..network.nodes import Activation, Affine, Concat, Node
from ..problem import Problem
from ..walk.pieces import Piece, constants_within
from ..walk.walk import walk
from .chains import constants, followed
from .fields import InvalidCertificate
from .forms import Slopes
from .fourier import neurons
from .fourier import proves as proves_fourier
from .linear import norm_test
from .matrices import TooLarge, array
from .phases import check_tree
from .prover import prover
from .record import ActivationRecord, PieceRecord
from .rows import check_programs
from .torus import Torus, layers_of
from .walk import Shortcuts, walked


def check_piece(problem: Problem, record: PieceRecord) -> str:
    """ "independent", or "recomputed" where the service's own code had to be trusted; else InvalidCertificate."""
    nodes = _nodes(problem, record)
    if problem.q is not None and record.kind != "rows":
        raise InvalidCertificate(f"a piece of kind {record.kind} is in one norm for both spaces")
    if record.kind == "lipsdp":
        return _semidefinite(problem, record, nodes)
    if record.kind == "rows":
        return _rows(problem, record, nodes)
    if record.kind == "fourier":
        return _fourier(problem, record, nodes)
    if record.kind == "phases":
        return _phases(problem, record, nodes)
    if record.kind in ("autolip", "seqlip"):
        return _walk(problem, record, nodes)
    if not record.constant >= recomputed(problem, nodes[0], nodes[1:]):
        raise InvalidCertificate("the service's own walk gives a larger constant")
    return "recomputed"


def _nodes(problem: Problem, record: PieceRecord) -> Sequence[Node]:
    """The piece's start and its nodes, which read nothing from elsewhere."""
    nodes = problem.network.nodes[record.start : record.end + 1]
    if not record.start < record.end < len(problem.network.nodes):
        raise InvalidCertificate("start and end do not enclose a part of the network")
    inside = set(nodes)
    if not all(source in inside for node in nodes[1:] for source in node.sources):
        raise InvalidCertificate("the piece reads values from before its start")
    return nodes


def recomputed(problem: Problem, start: Node, nodes: Sequence[Node]) -> float:
    """The constant by the service's own walk."""
    network = problem.network
    if start is network.input and nodes[-1] is network.output:
        steps = walk(network, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local)
        return steps[-1].cumulative
    piece = Piece(start, tuple(nodes))
    return constants_within(problem, piece)[piece.end]


def _walk(problem: Problem, record: PieceRecord, nodes: Sequence[Node]) -> str:
    """Every claimed norm and chain, then the rule."""
    norms, ways = {}, set()
    for claim in record.norms:
        node, source = (_node(problem, nodes, position) for position in (claim.node, claim.source))
        if (node, source) in norms:
            raise InvalidCertificate(f"the map from node {claim.source} into node {claim.node} has two norms")
        way = norm_test(problem, node, source)(claim.norm)
        if way is None:
            raise InvalidCertificate(f"the map into node {claim.node} is not proved to have norm {claim.norm!r}")
        norms[node, source] = claim.norm
        ways.add(way)
    shortcuts = _shortcuts(problem, record, nodes) if record.kind == "seqlip" else {}
    constant = walked(problem, nodes[0], nodes[1:], norms, shortcuts)
    if math.isinf(constant):
        raise InvalidCertificate("the norm of a linear map is missing")
    if not record.constant >= constant:
        raise InvalidCertificate("the norms and chains do not give the constant")
    return "recomputed" if "recomputed" in ways else "independent"


def _shortcuts(problem: Problem, record: PieceRecord, nodes: Sequence[Node]) -> Shortcuts:
    """The chains of the piece with their pairs' constants."""
    shortcuts: dict[tuple[Node, Node], tuple[Node, Sequence[float]]] = {}
    for claim in record.chains:
        node, source = (_node(problem, nodes, position) for position in (claim.node, claim.source))
        if (node, source) in shortcuts:
            raise InvalidCertificate(f"two chains end in the map from node {claim.source} into node {claim.node}")
        chain = followed(node, source, len(claim.pairs))
        if chain.start not in nodes:
            raise InvalidCertificate("a chain begins before the piece")
        shortcuts[node, source] = chain.start, constants(problem, chain, claim, problem.network.nodes)
    return shortcuts


def _node(problem: Problem, nodes: Sequence[Node], position: int) -> Node:
    if position >= len(problem.network.nodes) or problem.network.nodes[position] not in nodes:
        raise InvalidCertificate(f"node {position} is not in the piece")
    return problem.network.nodes[position]


def _semidefinite(problem: Problem, record: PieceRecord, nodes: Sequence[Node]) -> str:
    """The multipliers as a proof of rho, and rho as one of the constant."""
    rho = _rho(problem, record)
    plain = written_out(nodes[1:])
    constraint, slopes = _of_elementwise(problem, record, plain.nodes, plain.origin)
    t = [np.array(constraint[node].multipliers)[slopes[node].free] for node in constraint]
    try:
        proved = prover(nodes[0], plain.nodes[-1], slopes)(rho, np.concatenate([np.zeros(0), *t]))
    except TooLarge as reason:
        raise InvalidCertificate(f"too large to be checked: {reason}") from reason
    if not proved:
        raise InvalidCertificate("the multipliers do not prove rho: the matrix is not certainly positive semidefinite")
    return "independent"


def _of_elementwise(
    problem: Problem, record: PieceRecord, nodes: Sequence[Node], origin: Mapping[Activation, Activation]
) -> tuple[dict[Activation, ActivationRecord], dict[Activation, Slopes]]:
    """The activations of a piece that has nothing else but affine maps, with the slopes that are stated."""
    if not all(isinstance(node, Affine | Concat | Activation) for node in nodes):
        raise InvalidCertificate("the piece holds more than affine maps, maxima and elementwise activations")
    activations = _activations(record, nodes)
    return activations, {node: _slopes(problem, node, origin.get(node), activations[node]) for node in activations}


def _rows(problem: Problem, record: PieceRecord, nodes: Sequence[Node]) -> str:
    """Every output, or every input where the network is read backwards, by one of the programs."""
    plain = written_out(nodes[1:])
    _, slopes = _of_elementwise(problem, record, plain.nodes, plain.origin)
    try:
        check_programs(nodes[0], plain.nodes[-1], slopes, record, (problem.p, problem.output_norm))
    except TooLarge as reason:
        raise InvalidCertificate(f"too large to be checked: {reason}") from reason
    return "independent"


def _rho(problem: Problem, record: PieceRecord) -> float:
    """What the multipliers have to prove."""
    if problem.p != "2":
        raise InvalidCertificate("LipSDP proves bounds of the 2-norm only")
    assert record.rho is not None
    if not Fraction(record.constant) ** 2 >= Fraction(record.rho):
        raise InvalidCertificate("the constant is less than the root of rho")
    return record.rho


def _fourier(problem: Problem, record: PieceRecord, nodes: Sequence[Node]) -> str:
    """The same for a chain of convolutions, at every frequency of the torus."""
    rho = _rho(problem, record)
    layers = layers_of(nodes[0], nodes[1:])
    torus = Torus(tuple(convolution for convolution, _ in layers), tuple(record.torus))
    torus.check()
    try:
        proved = proves_fourier(torus, neurons(problem, torus, layers, record.maps), rho)
    except TooLarge as reason:
        raise InvalidCertificate(f"too large to be checked: {reason}") from reason
    if not proved:
        raise InvalidCertificate(
            "the multipliers do not prove rho: the matrix of a frequency is not certainly positive"
        )
    return "independent"


def _phases(problem: Problem, record: PieceRecord, nodes: Sequence[Node]) -> str:
    """A tree of phases, which are those of the whole network on the domain of its input."""
    if nodes[0] is not problem.network.input or nodes[-1] is not problem.network.output:
        raise InvalidCertificate("a tree of phases is one of the whole network")
    check_tree(problem, record.tree, record.constant)
    return "independent"


def _activations(record: PieceRecord, nodes: Sequence[Node]) -> dict[Activation, ActivationRecord]:
    """The activations among the nodes after the piece's start, in topological order, each with its record."""
    given = {one.node: one for one in record.activations}
    places = enumerate(nodes, record.start + 1)
    pairs = [(node, given.get(i)) for i, node in places if isinstance(node, Activation)]
    records = {node: one for node, one in pairs if one is not None}
    if len(records) < len(pairs) or len(record.activations) != len(pairs):
        raise InvalidCertificate("the activations are not those of the piece")
    return records


def _slopes(problem: Problem, node: Activation, origin: Activation | None, given: ActivationRecord) -> Slopes:
    """The slopes stated, which must hold those of the graph on its domain; a neuron without multiplier is not free.

    `origin` is the graph's activation; None for the rectifier of a maximum, which may have any slope between 0 and 1.
    """
    if not len(given.lower) == len(given.upper) == len(given.multipliers) == node.size:
        raise InvalidCertificate(f"the activation at node {given.node} has {node.size} neurons")
    lower, upper = np.array(given.lower), np.array(given.upper)
    anything = np.zeros(node.size), np.ones(node.size)
    least, most = anything if origin is None else (array(end) for end in problem.local.slopes(origin))
    if not bool(((lower <= least) & (most <= upper)).all()):
        raise InvalidCertificate(f"the slopes at node {given.node} do not cover those of the activation")
    return Slopes(lower, upper, np.flatnonzero(given.multipliers))
