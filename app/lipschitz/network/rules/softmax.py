"""Softmax, log-softmax and log-sum-exp: constants in closed form, values by their monotonicity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import UnsupportedOperator
from ...operators.base import Shape
from ...operators.rounding import gamma, up_sqrt
from ..builder import Builder
from ..call import Call
from ..ends import MARGIN, Ends, product, widened
from ..nodes import Constants, Function, Nonlinear, Partials
from ..values import Constant, Linear
from .normalization import OUTWARD
from .table import only_dependent, rule

SMALLEST = 2.0**-1000
"""Covers what underflows in an exponential."""

HALF: Constants = {"1": 0.5, "2": 0.5, "inf": 0.5}
ONE: Constants = {"1": 1.0, "2": 1.0, "inf": 1.0}


@rule("_softmax.default", "_safe_softmax.default")
def softmax(builder: Builder, call: Call) -> Linear:
    """Softmax over one axis."""
    return softmax_over(builder, call, only_dependent(call), int(call.arguments["dim"]))


@dataclass(frozen=True, eq=False)
class Softmax:
    """Softmax over one axis of tensors of a shape, where entries of `mask` take no part: as if they were -inf.

    A row of which no entry takes part is 0: so says `_safe_softmax`, and any other graph is NaN there, which the gate
    refuses. diag(p) - p p^T is symmetric with absolute row sums 2 p_i (1 - p_i) <= 1/2, and lies between 0 and diag(p).
    """

    shape: Shape
    axis: int
    mask: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """`(B, *shape)` to the same."""
        return torch.where(self.mask, 0.0, torch.softmax(self._masked(x), self.axis + 1))

    def range(self, _function: Function, lower: Tensor, upper: Tensor) -> Ends:
        low, high = (self._masked(end.reshape(self.shape)) for end in (lower, upper))
        least, most = _probabilities(low, high, self.axis)
        return self._kept(least), self._kept(most)

    def local(self, lower: Tensor, upper: Tensor) -> Constants:
        """On `lower <= x <= upper`."""
        low, high = self.range(self, lower, upper)
        half = torch.minimum(low.clamp(min=0.5), high)
        rows = min(0.5, OUTWARD * float((2 * half * (1 - half)).max()))
        return {"1": rows, "2": min(rows, float(high.max())), "inf": rows}

    @property
    def partials(self) -> Partials:
        """diag(p) - p p^T along the axis."""
        places = torch.arange(math.prod(self.shape)).reshape(self.shape).movedim(self.axis, -1)
        index = places.reshape(-1, self.shape[self.axis])
        return Partials(
            index, lambda lower, upper: _covariances(*(end[index] for end in self.range(self, lower, upper)))
        )

    @property
    def simplex(self) -> int:
        """Entries of a row, where they lie one after the other and every row adds up to one."""
        is_last, full = self.axis == len(self.shape) - 1, bool(self.mask.all(self.axis).any())
        return self.shape[self.axis] if is_last and not full else 0

    def _masked(self, x: Tensor) -> Tensor:
        return x.masked_fill(self.mask, -math.inf)

    def _kept(self, end: Tensor) -> Tensor:
        return torch.where(self.mask, 0.0, end).reshape(-1)


def softmax_over(builder: Builder, call: Call, value: Linear, dim: int) -> Linear:
    """Softmax of `value` over one axis; entries to which -inf was added take no part."""
    axis = dim % max(len(value.shape), 1)
    masked, mask = unmasked(value)
    layer = Softmax(value.shape, axis, mask)
    return builder.nonlinear(
        masked,
        value.shape,
        layer,
        HALF,
        "normalization",
        origin=call.origin,
        enclosure=layer.range,
        local=layer.local,
        simplex=layer.simplex,
        partials=layer.partials,
    )


def unmasked(value: Linear) -> tuple[Linear, Tensor]:
    """The value without the -inf that a mask added, and where that was."""
    mask = value.offset() == -math.inf
    if not bool(mask.any()):
        return value, mask
    flat = mask.reshape(-1)
    bias, radius = (None if x is None else torch.where(flat, 0.0, x) for x in (value.bias, value.bias_radius))
    radius = None if radius is None or not bool(radius.any()) else radius
    return replace(value, bias=bias, bias_radius=radius), mask


@rule("isnan.default")
def is_nan(_builder: Builder, call: Call) -> Constant:
    """Nowhere behind a softmax, which leaves masked rows 0, or another normalisation."""
    value = only_dependent(call)
    if not (isinstance(value.source, Nonlinear) and value.source.kind == "normalization"):
        raise UnsupportedOperator(f"{call.place} asks for NaN, which is no real number: no rule")
    return Constant(torch.zeros(value.shape, dtype=torch.bool))


def _probabilities(low: Tensor, high: Tensor, axis: int) -> Ends:
    """p_i is largest where z_i is largest and all other z_j are smallest, and the other way round."""
    top = high.amax(axis, keepdim=True)
    small, large = torch.exp(low - top), torch.exp(high - top)
    all_small, all_large = small.sum(axis, keepdim=True), large.sum(axis, keepdim=True)
    slack = MARGIN + gamma(low.shape[axis])
    least = small / (small + (all_large - large).clamp(min=0.0) + slack * all_large)
    most = large / (large + (all_small - small - slack * all_small).clamp(min=0.0))
    least = torch.nan_to_num(least * (1 - MARGIN) - SMALLEST, nan=0.0).clamp(0.0, 1.0)
    most = torch.nan_to_num(most * (1 + MARGIN) + SMALLEST, nan=1.0).clamp(0.0, 1.0)
    return least, most


def _covariances(least: Tensor, most: Tensor) -> Ends:
    """p_i (1 - p_i), concave in p_i, and -p_i p_j, for `(groups, n)` probabilities between the ends."""
    at_ends = torch.minimum(least * (1 - least), most * (1 - most))
    middle = torch.minimum(least.clamp(min=0.5), most)
    own = ((at_ends - SMALLEST) * (1 - MARGIN)).clamp(min=0.0), middle * (1 - middle) * (1 + MARGIN) + SMALLEST
    lower, upper = product((least[:, :, None], most[:, :, None]), (-most[:, None], -least[:, None]))
    diagonal = torch.eye(least.shape[1], dtype=torch.bool, device=least.device)
    return torch.where(diagonal, own[0][:, :, None], lower), torch.where(diagonal, own[1][:, :, None], upper)


@rule("_log_softmax.default")
def log_softmax(builder: Builder, call: Call) -> Linear:
    """Log-softmax: I - 1 p^T is convex in p, so its norms are largest at a vertex: sqrt(n), 2 and n - 1."""
    value = only_dependent(call)
    axis = int(call.arguments["dim"]) % max(len(value.shape), 1)
    n = value.shape[axis]
    constants: Constants = {"1": max(1.0, n - 1.0), "2": OUTWARD * math.sqrt(n), "inf": 2.0}

    def enclose(_function: Function, lower: Tensor, upper: Tensor) -> Ends:
        low, high = lower.reshape(value.shape), upper.reshape(value.shape)
        least = low - torch.logsumexp(high, axis, keepdim=True)
        most = (high - torch.logsumexp(low, axis, keepdim=True)).clamp(max=0.0)
        lost = MARGIN * (1 + torch.maximum(low.abs(), high.abs()).amax(axis, keepdim=True))
        return widened(least.reshape(-1), most.reshape(-1), lost.expand(value.shape).reshape(-1))

    return builder.nonlinear(
        value,
        value.shape,
        lambda x: torch.log_softmax(x, axis + 1),
        constants,
        "normalization",
        origin=call.origin,
        enclosure=enclose,
    )


@rule("logsumexp.default")
def log_sum_exp(builder: Builder, call: Call) -> Linear:
    """Log-sum-exp: the gradient is a probability vector, so the constant is 1 in every norm."""
    value = only_dependent(call)
    dims, keepdim = call.arguments["dim"], call.arguments["keepdim"]
    batched = [dim + 1 if dim >= 0 else dim for dim in dims]
    shape = tuple(call.run(Linear.offset).shape)
    function: Callable[[Tensor], Tensor] = lambda x: torch.logsumexp(x, batched, keepdim)  # noqa: E731
    return builder.nonlinear(value, shape, function, ONE, "normalization", origin=call.origin, enclosure=rising)


@rule("logcumsumexp.default")
def running_log_sum(builder: Builder, call: Call) -> Linear:
    """Every row of the Jacobian is a probability vector; an entry is in at most n of them."""
    value = only_dependent(call)
    axis = int(call.arguments["dim"]) % max(len(value.shape), 1)
    n = value.shape[axis] if value.shape else 1
    constants: Constants = {"1": float(n), "2": up_sqrt(float(n)), "inf": 1.0}

    def function(x: Tensor) -> Tensor:
        return torch.logcumsumexp(x, axis + 1) if value.shape else x

    return builder.nonlinear(
        value, value.shape, function, constants, "normalization", origin=call.origin, enclosure=rising
    )


def rising(function: Function, lower: Tensor, upper: Tensor) -> Ends:
    """The enclosure of a nondecreasing function that is computed to nearly full accuracy."""
    ends = function(torch.stack([lower, upper]))
    lost = MARGIN * (1 + torch.maximum(lower.abs().max(), upper.abs().max()))
    return widened(ends[0], ends[1], lost)
