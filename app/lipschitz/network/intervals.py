"""Entrywise bounds of every node's value over a domain: interval arithmetic, rounded outwards.

An affine map is bounded by centre and radius: |A x - A c| <= |A| r entry by entry. For a ball read by a first
layer the radius of an entry is R times the dual norm of its row. What floating point can lose is covered by
an allowance relative to |A| |x|, MARGIN plus the rounding of the product itself, by the operator's `error`, by the
radius of the bias, and by an absolute one for underflow. An entry that varies never gets an interval without length:
weights and slopes of entries that cannot vary are left out elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from ..domain import Ball
from ..operators.base import LinearOperator
from ..operators.composite import Composed, Stack, Sum
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from ..operators.rounding import TINY, gamma, up_mul
from ..operators.scaling import safe_norm
from ..operators.support import reached
from .ends import MARGIN, Ends, around, magnitude, product, total, widened
from .nodes import Activation, Affine, Change, Concat, Node, Nonlinear
from .products import MatrixProduct, Product
from .row_norms import row_norms


@dataclass(frozen=True, eq=False)
class Interval:
    """`lower <= x <= upper`, flat vectors `(n,)`; `ball` where x lies in a ball as well."""

    lower: Tensor
    upper: Tensor
    ball: Ball | None = None

    @property
    def magnitude(self) -> Tensor:
        """The largest |x| of every entry."""
        return magnitude((self.lower, self.upper))

    @property
    def varying(self) -> Tensor:
        """Whether an entry can change at all, `(n,)`."""
        return self.lower < self.upper


@singledispatch
def enclose(node: Node, *sources: Interval) -> Interval:
    """A node's interval from its sources'."""
    raise NotImplementedError(type(node).__name__)


@enclose.register
def _(node: Affine, *sources: Interval) -> Interval:
    images = [image(term.operator, source) for term, source in zip(node.terms, sources, strict=True)]
    return _shifted(_total(images), node.bias, node.bias_radius)


@enclose.register
def _(node: Concat, *sources: Interval) -> Interval:
    images = [image(term.operator, source) for term, source in zip(node.terms, sources, strict=True)]
    joined = Interval(torch.cat([end.lower for end in images]), torch.cat([end.upper for end in images]))
    return _shifted(joined, node.bias, node.bias_radius)


@enclose.register
def _(node: Activation, *sources: Interval) -> Interval:
    (source,) = sources
    return Interval(*node.scalar.range(source.lower, source.upper))


@enclose.register
def _(node: Nonlinear, *sources: Interval) -> Interval:
    (source,) = sources
    return Interval(*node.range(source.lower, source.upper))


@enclose.register
def _(node: Product, *sources: Interval) -> Interval:  # noqa: ARG001 - the sources say all
    left, right = sources
    return Interval(*product((left.lower, left.upper), (right.lower, right.upper)))


@enclose.register
def _(node: MatrixProduct, *sources: Interval) -> Interval:
    left, right = sources
    (a, b), (r, s) = node.factors(_middle(left), _middle(right)), node.factors(_radius(left), _radius(right))
    center = (a @ b).flatten()
    spread = (a.abs() @ s + r @ (b.abs() + s)).flatten()
    allowance = (MARGIN + 2 * gamma(node.sizes[2])) * ((a.abs() + r) @ (b.abs() + s)).flatten()
    allowance = allowance + 8 * (node.sizes[2] + 2) * TINY
    lower, upper = widened(center - spread, center + spread, allowance)
    if not node.stochastic:
        return Interval(lower, upper)
    least, most = _extremes(node, right)
    return Interval(torch.maximum(lower, least), torch.minimum(upper, most))


def _extremes(node: MatrixProduct, right: Interval) -> Ends:
    """An average of the right factor's rows lies between their extremes."""
    b, n, k, m = node.sizes
    least, most = right.lower.reshape(b, k, m).amin(1, keepdim=True), right.upper.reshape(b, k, m).amax(1, keepdim=True)
    allowance = (MARGIN + gamma(k)) * magnitude((least, most))
    lower, upper = widened(least, most, allowance)
    return lower.expand(b, n, m).flatten(), upper.expand(b, n, m).flatten()


@enclose.register
def _(node: Change, *sources: Interval) -> Interval:
    left_source, right_source, left, right, change = sources
    apart = total((left.lower, left.upper), (-right.upper, -right.lower))
    if isinstance(node.left, Activation):
        moved = product(quotients(node, left_source, right_source), (change.lower, change.upper))
    elif node.left.extreme:
        moved = _of_extremes(node.left, change)
    else:
        moved = _by_constant(node.left, left_source, right_source, change)
    return Interval(torch.maximum(apart[0], moved[0]), torch.minimum(apart[1], moved[1]))


def _of_extremes(node: Nonlinear, change: Interval) -> Ends:
    """The least and the largest change among the entries that each value is chosen from."""
    if node.extreme > 0:
        return -node.function(-change.lower[None])[0], node.function(change.upper[None])[0]
    return node.function(change.lower[None])[0], -node.function(-change.upper[None])[0]


def _by_constant(node: Nonlinear, left: Interval, right: Interval, change: Interval) -> Ends:
    """No entry moves by more than the whole does in any norm: a constant times the norm of the change."""
    known = dict(node.constants)
    if node.local is not None:
        local = node.local(torch.minimum(left.lower, right.lower), torch.maximum(left.upper, right.upper))
        known = {p: min(constant, local[p]) for p, constant in known.items()}
    size = change.magnitude
    lengths = {p: float(safe_norm(size, float(p))) * (1.0 + MARGIN + 2 * gamma(len(size))) for p in known}
    reach = min((up_mul(known[p], lengths[p]) for p in known), default=math.inf)
    ends = torch.full((node.size,), reach, dtype=torch.float64, device=size.device)
    return -ends, ends


def quotients(node: Change, left: Interval, right: Interval) -> Ends:
    """The difference quotients of an elementwise function between arguments in those ranges."""
    assert isinstance(node.left, Activation)
    return node.left.scalar.slopes(torch.minimum(left.lower, right.lower), torch.maximum(left.upper, right.upper))


def _middle(interval: Interval) -> Tensor:
    return interval.lower / 2 + interval.upper / 2


def _radius(interval: Interval) -> Tensor:
    middle = _middle(interval)
    return torch.maximum(interval.upper - middle, middle - interval.lower)


def _total(parts: Sequence[Interval]) -> Interval:
    """The sum of the parts."""
    ends = parts[0].lower, parts[0].upper
    for part in parts[1:]:
        ends = total(ends, (part.lower, part.upper))
    return Interval(*ends)


def _shifted(x: Interval, bias: Tensor | None, bias_radius: Tensor | None) -> Interval:
    """x + b for every b within the radius of the bias."""
    if bias is None and bias_radius is None:
        return x
    shift = torch.zeros_like(x.lower) if bias is None else bias
    return Interval(*total((x.lower, x.upper), around(shift, bias_radius)))


@singledispatch
def image(operator: LinearOperator, x: Interval) -> Interval:
    """Enclosure of {A x}, flat vectors; an entry keeps one value only where A certainly has zeros for all that varies.

    Sizes that underflow count as `TINY` a product, and what is unbounded or varies is told from the operator's
    pattern: sizes may vanish where the exact ones do not.
    """
    finite = torch.isfinite(x.lower) & torch.isfinite(x.upper)
    center = torch.where(finite, _middle(x), 0.0)
    radius = torch.where(finite, _radius(x), 0.0)
    spread, size = operator.majorant().mv(torch.stack([radius, center.abs() + radius]))
    lost = MARGIN + 2 * gamma(operator.depth + 2)
    if x.ball is not None:
        spread = torch.minimum(spread, x.ball.radius * row_norms(operator, x.ball.p) * (1 + lost))
    (middle,) = operator.mv(center[None])
    largest = float((center.abs() + radius).max()) if operator.in_size else 0.0
    rounding = lost * size + operator.error * largest + 4 * (operator.depth + 2) * TINY
    reach = torch.where(reached(operator, ~finite), math.inf, spread + rounding)
    lower, upper = widened(middle, middle, reach)
    reads = reached(operator, torch.ones_like(finite))
    return Interval(torch.where(reads, lower, 0.0), torch.where(reads, upper, 0.0))


@image.register
def _(operator: Reshape, x: Interval) -> Interval:  # noqa: ARG001 - the identity on flat vectors
    return x


@image.register
def _(operator: Gather, x: Interval) -> Interval:
    """Entries are moved, not computed; -1 stands for a zero."""
    ends = torch.stack([x.lower, x.upper])
    return Interval(*operator.mv(ends))


@image.register
def _(operator: Composed, x: Interval) -> Interval:
    """Part by part: |A B| r <= |A| |B| r is what the majorant of the product gives, too."""
    for part in reversed(operator.parts):
        x = image(part, x)
    return x


@image.register
def _(operator: Sum, x: Interval) -> Interval:
    return _total([image(part, x) for part in operator.parts])


@image.register
def _(operator: Stack, x: Interval) -> Interval:
    images = [image(part, x) for part in operator.parts]
    return Interval(torch.cat([end.lower for end in images]), torch.cat([end.upper for end in images]))
