"""What a method hands over so that its bound can be certified: claims about one piece of the network after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from app.lipschitz.network.nodes import Activation, Node


@dataclass(frozen=True, eq=False)
class NormClaim:
    """The linear map from `source` to `node` has an operator norm of at most `value`."""

    node: Node
    source: Node
    value: float


@dataclass(frozen=True, eq=False)
class WalkClaim:
    """AutoLip's rule from `start` to `end`, with the norms that it uses."""

    start: Node
    end: Node
    norms: tuple[NormClaim, ...]


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A point (rho, t) of LipSDP's constraint in the network's own coordinates; `t` is `(n,)` an activation."""

    rho: float
    t: Mapping[Activation, Tensor]


@dataclass(frozen=True, eq=False)
class SemidefiniteClaim:
    """LipSDP from `start` to `end`: `found` is as good as feasible, `inner` feasible with room to spare.

    `slopes` are the ranges that the multipliers stand for, `(n,)` each; `fallback` bounds the same piece.
    """

    start: Node
    end: Node
    slopes: Mapping[Activation, tuple[Tensor, Tensor]]
    found: Multipliers
    inner: Multipliers
    fallback: WalkClaim


Claim = WalkClaim | SemidefiniteClaim
