"""The arguments of open neurons between affine functionals of the input and of other open neurons' values.

On the domain most neurons have one slope. A linear bound (`bounds.backward`) of the argument of an open one is moved
back through those, but stops at other open neurons and at the input. What it finds holds on the whole domain, rounding
subtracted; so it holds on every part, where ranges follow from it without the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ...bounds.backward import Backward
from ...bounds.lines import lines
from ...network.nodes import Activation, Input, Node
from ...problem import Problem

ENTRIES = 2**23
"""Most numbers of the rows that are moved back at once."""


@dataclass(frozen=True, eq=False)
class Functional:
    """x `(M, n)`, z `(M, M)` and a constant `(M,)`: an affine function of the input and the open neurons' values."""

    x: Tensor
    z: Tensor
    constant: Tensor


@dataclass(frozen=True, eq=False)
class Functionals:
    """`below` <= v <= `above` for the arguments v of the open neurons, activation after activation: `layers`.

    `lower`, `upper` are the ranges of v on the domain, `reach_x` and `reach_z` the largest |x| and |z|, entry by entry.
    """

    below: Functional
    above: Functional
    lower: Tensor
    upper: Tensor
    reach_x: Tensor
    reach_z: Tensor
    layers: tuple[slice, ...]

    @property
    def count(self) -> int:
        """The number of open neurons, M."""
        return len(self.lower)


@dataclass(eq=False)
class Stopping(Backward):
    """Linear bounds that stop at the input and at `open_`, the positions of open neurons; `stopped` is what is left."""

    open_: Mapping[Activation, Tensor] = field(default_factory=dict)
    stopped: dict[Node, Tensor] = field(default_factory=dict)

    def _through(self, node: Node, rows: Tensor) -> None:
        if isinstance(node, Input):
            self.stopped[node] = rows
            return
        if isinstance(node, Activation) and node in self.open_:
            positions = self.open_[node]
            self.stopped[node] = rows[:, positions]
            rows = rows.index_fill(1, positions, 0.0)
        super()._through(node, rows)


def functionals(problem: Problem, open_: Mapping[Activation, Tensor]) -> Functionals:
    """For the positions of the open neurons, `(k,)` an activation in topological order."""
    network, known = problem.network, problem.local.intervals
    activations = [node for node in network.nodes if isinstance(node, Activation)]
    around = {n: lines(n.scalar, known[n.source].lower, known[n.source].upper) for n in activations}
    ends = list(accumulate((len(positions) for positions in open_.values()), initial=0))
    layers = tuple(slice(a, b) for a, b in pairwise(ends))
    places = dict(zip(open_, layers, strict=True))
    pairs = [
        [_moved(problem, around, open_, places, node=node, rows=sign * _rows(node, positions)) for sign in (1.0, -1.0)]
        for node, positions in open_.items()
    ]
    below, above = (
        Functional(*(sign * torch.cat([pair[which][part] for pair in pairs]) for part in range(3)))
        for which, sign in ((0, 1.0), (1, -1.0))
    )
    sources = [(known[node.source], positions) for node, positions in open_.items()]
    return Functionals(
        below,
        above,
        torch.cat([ends.lower[positions] for ends, positions in sources]),
        torch.cat([ends.upper[positions] for ends, positions in sources]),
        known[network.input].magnitude,
        torch.cat([known[node].magnitude[positions] for node, positions in open_.items()]),
        layers,
    )


def _rows(node: Activation, positions: Tensor) -> Tensor:
    rows = torch.zeros(len(positions), node.source.size, dtype=torch.float64)
    rows[torch.arange(len(positions)), positions] = 1.0
    return rows


def _moved(
    problem: Problem,
    around: Mapping[Activation, object],
    open_: Mapping[Activation, Tensor],
    places: Mapping[Activation, slice],
    *,
    node: Activation,
    rows: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The functionals, `(k, n)`, `(k, M)` and `(k,)`, that bound rows of the activation's argument from below."""
    network = problem.network
    order = list(network.nodes[: network.nodes.index(node)])
    widest = max(one.size for one in order)
    count = max(one.stop for one in places.values())
    x = rows.new_zeros(len(rows), network.input.size)
    z, constant = rows.new_zeros(len(rows), count), rows.new_zeros(len(rows))
    for part in torch.arange(len(rows)).split(max(1, ENTRIES // widest)):
        back = Stopping(problem.domain, problem.local.intervals, around, {}, open_=open_)  # type: ignore[arg-type]
        constant[part] = back.least(node.source, rows[part], order)
        x[part] = back.stopped.get(network.input, x[part])
        for base, place in places.items():
            if base in back.stopped:
                z[part, place] = back.stopped[base]
    return x, z, constant
