"""What a method hands over so that its bound can be certified: claims about one piece of the network after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .network.nodes import Activation, Node


@dataclass(frozen=True, eq=False)
class Face:
    """A node of the tree: split at a slope, or a leaf with the multipliers of its free slopes, or a leaf without, whose
    vertices are few.
    """

    split: int | None = None
    multipliers: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Proof:
    """The maximum is at most `value`: `tree` lists its nodes, each before its two halves, the lower half first."""

    value: float
    tree: tuple[Face, ...]


@dataclass(frozen=True)
class PhaseRecord:
    """A node of a tree of phases: split at the kink of the neuron `split`, or a leaf.

    A leaf is empty by the conditions numbered `rows`, or bounded by `multipliers`, one for each neuron that is not
    split on the way, or, with neither, by its matrix.
    """

    split: int | None = None
    rows: list[int] | None = None
    multipliers: list[float] | None = None


@dataclass(frozen=True, eq=False)
class NormClaim:
    """The linear map from `source` to `node` has an operator norm of at most `value`."""

    node: Node
    source: Node
    value: float


@dataclass(frozen=True, eq=False)
class PairClaim:
    """The largest norm of the two factors around `activation`, with its slopes `(n,)` between, and its proof."""

    activation: Activation
    lower: Tensor
    upper: Tensor
    proof: Proof


@dataclass(frozen=True, eq=False)
class ChainClaim:
    """The product of the pairs' values bounds the chain from `start` that ends in `node`'s term that reads `source`."""

    start: Node
    node: Node
    source: Activation
    pairs: tuple[PairClaim, ...]


@dataclass(frozen=True, eq=False)
class WalkClaim:
    """AutoLip's rule from `start` to `end`, with the norms and the chains that it uses."""

    start: Node
    end: Node
    norms: tuple[NormClaim, ...]
    chains: tuple[ChainClaim, ...] = ()


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A point (rho, t) of LipSDP's constraint in the network's own coordinates; `t` is `(n,)` an activation."""

    rho: float
    t: Mapping[Activation, Tensor]


@dataclass(frozen=True, eq=False)
class SemidefiniteClaim:
    """LipSDP from `start` to `end`: `solution` is as good as feasible, `inner` feasible with room to spare.

    `slopes` are the ranges that the multipliers stand for, `(n,)` each; `fallback` bounds the same piece. `work` is
    the proof's number of multiplications where the matrix is sparse, `nodes` are those after `start` where maxima are
    written out, as `network.maxima` does, `origin` the network's own activations that theirs stand for.
    """

    start: Node
    end: Node
    slopes: Mapping[Activation, tuple[Tensor, Tensor]]
    solution: Multipliers
    inner: Multipliers
    fallback: WalkClaim
    work: float | None = field(default=None, kw_only=True)
    nodes: tuple[Node, ...] = field(default=(), kw_only=True)
    origin: Mapping[Activation, Activation] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, eq=False)
class FourierClaim(SemidefiniteClaim):
    """LipSDP on the torus of `sides` coarse points: the piece is a chain of convolutions with activations between.

    `maps` and `inner_maps` are the multipliers of the map after each convolution but the last, one a channel and
    phase; those of `solution` and `inner`, by activation, are left out.
    """

    sides: tuple[int, ...]
    maps: tuple[Tensor, ...]
    inner_maps: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """LipSDP of some of the outputs, `rows`, each alone: weights `(n,)` of the inputs, `t` `(n,)` an activation.

    For the 1-norm of the network read backwards, whose outputs are the inputs.
    """

    rows: tuple[int, ...]
    weights: Tensor
    t: Mapping[Activation, Tensor]


@dataclass(frozen=True, eq=False)
class RowsClaim:
    """LipSDP from `start` to `end` beyond the 2-norm: the `programs` bound every row, or all outputs together.

    There is no `fallback` from one norm to another. `slopes`, `nodes`, `origin` and `work`, that of one program, as in
    `SemidefiniteClaim`.
    """

    start: Node
    end: Node
    slopes: Mapping[Activation, tuple[Tensor, Tensor]]
    programs: tuple[Program, ...]
    fallback: WalkClaim | None
    work: float
    nodes: tuple[Node, ...]
    origin: Mapping[Activation, Activation]


@dataclass(frozen=True, eq=False)
class PhaseClaim:
    """A tree of phases that proves `value` for the whole network, from `start` to `end`; see `PhaseRecord`."""

    start: Node
    end: Node
    value: float
    tree: tuple[PhaseRecord, ...]


Claim = WalkClaim | SemidefiniteClaim | RowsClaim | PhaseClaim
