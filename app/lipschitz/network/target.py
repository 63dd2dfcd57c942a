"""Which part of the output is bounded: all of it, one logit, the margin between two, or every such margin."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...contract.domain import Logit, Margin, Margins, Target
from ..artifact.captured import Origin
from ..errors import InvalidRequest
from ..operators import algebra
from ..operators.dense import Dense
from .nodes import Affine, Network, Term

MOST_OUTPUTS = 100
"""Outputs of which all pairs are bounded: 4,950 pairs."""


def with_target(network: Network, target: Target) -> Network:
    """The network followed by the target's linear map, fused into the last layer where that is affine."""
    size = network.output.size
    match target:
        case Logit():
            row = _unit(target.index, "index", size)
        case Margin():
            row = _unit(target.i, "i", size) - _unit(target.j, "j", size)
        case Margins():
            return _with_pairs(network)
        case _:
            return network
    return _followed_by(network, Dense((size,), (1,), row), Origin(f"target {target.kind}", "Target"))


def _with_pairs(network: Network) -> Network:
    """The network itself: the methods take the differences of its outputs."""
    if 2 <= network.output.size <= MOST_OUTPUTS:
        return network
    raise InvalidRequest(f"target margins is for 2 to {MOST_OUTPUTS} output entries, not {network.output.size}")


def _unit(position: int, key: str, size: int) -> Tensor:
    if position >= size:
        raise InvalidRequest(f"target.{key} must be an integer from 0 to {size - 1}, not {position!r}")
    row = torch.zeros(1, size, dtype=torch.float64)
    row[0, position] = 1.0
    return row


def _followed_by(network: Network, operator: Dense, origin: Origin) -> Network:
    last = network.output
    if not isinstance(last, Affine):
        appended = Affine((1,), (origin,), (Term(last, operator),), None, 0, "structural")
        return Network((*network.nodes, appended))
    terms = tuple(Term(t.source, algebra.compose(operator, t.operator)) for t in last.terms)
    bias = None if last.bias is None else operator.mv(last.bias[None])[0]
    fused = replace(last, shape=(1,), origins=(*last.origins, origin), terms=terms, bias=bias)
    return Network((*network.nodes[:-1], fused))
