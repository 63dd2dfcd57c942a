"""Constants of nonlinear nodes on a domain, from the ranges of the values that they read.

All values lie in their intervals, which are convex, so a bound of the derivative there is a Lipschitz constant of
the node along the network. On the whole space most nodes have a constant of their own, and the intervals are
needed only for the others, such as a product of two bounded factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from ..domain import Box, Domain, WholeSpace
from ..network.intervals import Interval
from ..network.nodes import Activation, Network, Node, Nonlinear
from ..network.products import MatrixProduct
from ..network.propagation import propagate
from ..network.scalar import Slope
from ..operators import algebra
from ..operators.base import LinearOperator
from ..operators.composite import work
from ..operators.dense import Dense
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from ..operators.norm import Norm, norm
from ..operators.reshape import Reshape
from ..operators.rounding import up_sqrt, widened
from .linear import ranges_with_choices
from .optimised import Choice

QUICK = 2e9
"""Most multiplications for a norm that is taken once more, with weights folded in or columns left out."""


@dataclass(frozen=True, eq=False)
class Local:
    """What the walk asks about a network on a domain. Folded operators are kept, so that norms can be.

    `given` ranges are used as they are; without them they are found.
    """

    network: Network
    domain: Domain = field(default_factory=WholeSpace)
    deadline: Deadline = NEVER
    _folded: dict[object, LinearOperator] = field(default_factory=dict)
    given: Mapping[Node, Interval] | None = None

    @cached_property
    def intervals(self) -> Mapping[Node, Interval]:
        """The range of every node: the one source for all that depends on the domain."""
        return self._found[0]

    @property
    def choices(self) -> Mapping[Node, Choice]:
        """Lines that prove some of the ranges, where they are not those of `bounds.lines`."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Mapping[Node, Interval], Mapping[Node, Choice]]:
        if self.given is not None:
            return self.given, {}
        return ranges_with_choices(self.network, self.domain, self.deadline)

    @cached_property
    def centre(self) -> dict[Node, Interval]:
        """An enclosure of every node's value at the middle of a bounded domain."""
        middle = self.domain.centre(self.network.input.size)
        return propagate(self.network, Box(middle, middle))

    @property
    def radius(self) -> float:
        """Largest 2-norm distance from the middle of the domain, rounded up."""
        return self.domain.radius_2(self.network.input.size)

    @property
    def bounded(self) -> bool:
        """Whether the domain is less than the whole space."""
        return not isinstance(self.domain, WholeSpace)

    def slope(self, node: Activation) -> Slope:
        """The range of an activation's difference quotients over all entries."""
        whole = node.scalar.slope()
        if not self.bounded and math.isfinite(whole.magnitude):
            return whole
        least, most = self.slopes(node)
        return Slope(float(least.min()), float(most.max()))

    def weights(self, node: Activation) -> Tensor:
        """Every entry's Lipschitz constant, `(n,)`."""
        least, most = self.slopes(node)
        return torch.maximum(least.abs(), most.abs())

    def slopes(self, node: Activation) -> tuple[Tensor, Tensor]:
        """Every entry's range of difference quotients, `(n,)` each; 0 for entries that cannot vary."""
        source = self.intervals[node.source]
        least, most = node.scalar.slopes(source.lower, source.upper)
        still = ~source.varying & torch.isfinite(source.lower)
        return torch.where(still, 0.0, least), torch.where(still, 0.0, most)

    def constant(self, node: Nonlinear, p: Norm) -> float:
        """A pooling's, softmax's or normalisation's constant."""
        if node.local is None or (not self.bounded and math.isfinite(node.constants[p])):
            return node.constants[p]
        source = self.intervals[node.source]
        return min(node.constants[p], node.local(source.lower, source.upper)[p])

    def magnitudes(self, node: Node) -> Tensor:
        """The largest absolute value of every entry, `(n,)`."""
        return self.intervals[node].magnitude

    def sides(self, node: MatrixProduct, p: Norm) -> tuple[float, float]:
        """Constants of a matrix product in its left and its right factor.

        In flattened p-norms ||dA B|| <= ||B^T||_p ||dA|| and ||A dB|| <= ||A||_p ||dB||, with operator norms on
        the right; those of a matrix are at most those of its magnitudes.
        """
        left, right = (matrices[0] for matrices in node.factors(*map(self.magnitudes, node.sources)))
        first, second = (_matrix_norm(matrices, p, self.deadline) for matrices in (right.mT, left))
        if node.stochastic:
            second = min(second, stochastic_norm(left, p))
        return first, second

    def narrowed(self, operator: LinearOperator, source: Node) -> LinearOperator:
        """The operator without the columns of entries that cannot vary, where its norm is affordable."""
        if not self.bounded or not _is_quick(operator):
            return operator
        varying = self.intervals[source].varying
        if bool(varying.all()):
            return operator
        kept = _diagonal(varying.to(torch.float64))
        return self._kept((operator, source), lambda: algebra.compose(operator, kept))

    def weighted(self, weights: Tensor, operator: LinearOperator, key: object) -> LinearOperator | None:
        """diag(weights) operator, where its norm is affordable and may lie below max|weights| times the operator's."""
        uniform = bool((weights == weights.max()).all())
        if not self.bounded or uniform or not _is_quick(operator) or not bool(torch.isfinite(weights).all()):
            return None
        return self._kept(key, lambda: algebra.compose(_diagonal(weights), operator))

    def stacked(self, left: LinearOperator, right: LinearOperator, key: object) -> LinearOperator | None:
        """Two operators on one source as one, where its norm is affordable."""
        moves = all(isinstance(operator, Gather | Reshape) for operator in (left, right))
        if not moves and not all(_is_quick(operator) for operator in (left, right)):
            return None
        return self._kept(key, lambda: algebra.stack([left, right]))

    def _kept(self, key: object, make: Callable[[], LinearOperator]) -> LinearOperator:
        if key not in self._folded:
            self._folded[key] = make()
        return self._folded[key]


def _diagonal(weights: Tensor) -> Diagonal:
    return Diagonal(tuple(weights.shape), tuple(weights.shape), weights)


def _is_quick(operator: LinearOperator) -> bool:
    """The explicit matrix and its Gram matrix cost next to nothing."""
    small, large = sorted((operator.in_size, operator.out_size))
    return 2.0 * small * (small * large + work(operator)) <= QUICK


def _matrix_norm(matrices: Tensor, p: Norm, deadline: Deadline) -> float:
    """The largest p-norm of a batch `(b, o, i)`; infinite where an entry is."""
    if not bool(torch.isfinite(matrices).all()):
        return math.inf
    b, o, i = matrices.shape
    return norm(Dense((b, i), (b, o), matrices.contiguous()), p, deadline).upper


def stochastic_norm(matrices: Tensor, p: Norm) -> float:
    """The same for magnitudes of matrices whose rows add up to one: ||P||_inf = 1, ||P||_2^2 <= ||P||_1 ||P||_inf."""
    columns = widened(float(matrices.sum(-2).max()), matrices.shape[-2])
    return {"1": columns, "2": up_sqrt(columns), "inf": 1.0}[p]
