"""SeqLip's constants of chains [VS18, section 5], checked.

A chain ends in a term of an affine node that reads an activation; back from there it goes through single affine maps
and activations, M_K D_{K-1} ... D_1 M_1. With M_1 = P_1 K_1, M_i = P_i Q_i between and M_K = K_K Q_K (`factors`),

    ||M_K D_{K-1} ... D_1 M_1|| <= prod_i max ||Q_{i+1} D_i P_i||,

whatever else reads the values on the way. The factors are made here; a pair's multipliers suit any others of the same
kind, since two singular value decompositions differ by a rotation between P and Q only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..network.nodes import Activation, Affine, Concat, Node, Term
from ..problem import Problem
from .balls import Ball
from .faces import Face, holds
from .factors import first_factor, last_factor, middle_factors
from .fields import InvalidCertificate
from .linear import masked
from .matrices import TooLarge, array, matrix
from .record import ChainRecord, PairRecord


@dataclass(frozen=True, eq=False)
class Chain:
    """`terms` M_1 to M_K and the activations between."""

    terms: tuple[Term, ...]
    activations: tuple[Activation, ...]

    @property
    def start(self) -> Node:
        """What the first map reads."""
        return self.terms[0].source


def followed(node: Node, source: Node, pairs: int) -> Chain:
    """The chain with so many activations that ends in the node's term that reads `source`."""
    if pairs < 1:
        raise InvalidCertificate("a chain needs a pair of layers")
    terms, activations = [_term(node, source)], list[Activation]()
    for _ in range(pairs):
        activation = terms[0].source
        if not isinstance(activation, Activation) or not isinstance(activation.source, Affine):
            raise InvalidCertificate("a chain needs an affine map before each of its activations")
        before = activation.source
        if len(before.terms) != 1:
            raise InvalidCertificate("the maps inside a chain have one term each")
        terms.insert(0, before.terms[0])
        activations.insert(0, activation)
    return Chain(tuple(terms), tuple(activations))


def _term(node: Node, source: Node) -> Term:
    terms = [term for term in node.terms if term.source is source] if isinstance(node, Affine | Concat) else []
    if len(terms) != 1:
        raise InvalidCertificate("a chain ends in one term of an affine node")
    return terms[0]


def factored(problem: Problem, chain: Chain) -> list[tuple[Ball, Ball]]:
    """Q_{i+1} and P_i of every pair. Entries of the chain's input that cannot vary do not count."""
    try:
        first, *inside, last = (matrix(term.operator) for term in chain.terms)
    except TooLarge as reason:
        raise InvalidCertificate(f"too large to be checked: {reason}") from reason
    if problem.local.bounded:
        first = masked(first, array(problem.local.intervals[chain.start].varying))
    middle = [middle_factors(one) for one in inside]
    lefts = [first_factor(first), *(left for left, _ in middle)]
    rights = [*(right for _, right in middle), last_factor(last)]
    return list(zip(rights, lefts, strict=True))


def box(problem: Problem, activation: Activation, factors: tuple[Ball, Ball], record: PairRecord) -> Face:
    """A pair with the slopes stated, which must hold those of the graph on its domain."""
    if not len(record.lower) == len(record.upper) == activation.size:
        raise InvalidCertificate(f"the activation at node {record.node} has {activation.size} neurons")
    lower, upper = np.array(record.lower, dtype=np.float64), np.array(record.upper, dtype=np.float64)
    least, most = (array(end) for end in problem.local.slopes(activation))
    if not bool(((lower <= least) & (most <= upper)).all()):
        raise InvalidCertificate(f"the slopes at node {record.node} do not cover those of the activation")
    return Face(*factors, lower, upper)


def constants(problem: Problem, chain: Chain, record: ChainRecord, nodes: Sequence[Node]) -> list[float]:
    """The pairs' constants, all of them proved, or InvalidCertificate; `nodes` are those of the network."""
    if problem.p != "2":
        raise InvalidCertificate("SeqLip proves bounds of the 2-norm only")
    for activation, factors, pair in zip(chain.activations, factored(problem, chain), record.pairs, strict=True):
        if pair.node >= len(nodes) or nodes[pair.node] is not activation:
            raise InvalidCertificate(f"node {pair.node} is not the chain's activation there")
        face = box(problem, activation, factors, pair)
        try:
            proved = math.isfinite(pair.constant) and holds(face, pair.faces, pair.constant)
        except TooLarge as reason:
            raise InvalidCertificate(f"too large to be checked: {reason}") from reason
        if not proved:
            raise InvalidCertificate(f"the pair at node {pair.node} is not proved to be at most {pair.constant!r}")
    return [pair.constant for pair in record.pairs]
