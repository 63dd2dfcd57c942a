"""Layers that divide by a spread computed from their own input, over groups of entries.

With n entries in a group, centred x and s = sqrt(var + eps), the Jacobian of layer norm is
(I - 11^T/n - z z^T/n) / s up to the gain, z = x / s. Its 2-norm is at most 1/s, and 1/s <= 1/sqrt(eps) (attained for
constant inputs when n > 1). It is symmetric; its rows in the 1-norm, with a = z_i^2, t = |z|^2/n = var/s^2 <= 1 and
sum z = 0: |1 - 1/n - a/n| + sum_{j != i} |1 + z_i z_j|/n, where Cauchy and Schwarz bound the sum by the root of
(n-1) (n-1 - 2a + a (nt - a)), a quadratic in a. Its largest value together with the first term is at most

    layer_rows(n, t) = 1 - t/2 + sqrt(n t^2 + 4 (1 - t))/2, that is (1 + sqrt(n))/2 at t = 1,

and also at most near_rows(n, t) = 2 (n-1)/n + sqrt(n-1) t, by sum |z_i z_j|/n <= sqrt(n-1) t, which is better at t = 0.

In the same way RMS norm, (I - z z^T/n) / s, has rows of at most rms_rows(n, t) = 1 - t/2 + t sqrt(n)/2. Over all inputs
1/s = sqrt((1 - t)/eps); on an interval var >= v gives 1/s <= 1/sqrt(v + eps).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UnsupportedOperator
from ...operators.rounding import TINY, gamma, up_mul
from ..arithmetic import Interval, choose
from ..builder import Builder
from ..call import Call
from ..ends import MARGIN, Ends, around, magnitude, product, total, widened
from ..nodes import Constants, Partials
from ..values import Constant, Linear
from .table import only_dependent, rule

OUTWARD = 1.0 + 2.0**-40
"""Covers the rounding of the closed forms below."""

LARGEST = 2.0**500
"""A deviation whose square is finite."""

UNDERFLOWN = 2.0**-500
"""More than a norm loses whose squares are subnormal."""

CELLS = 1024
"""Parts of 0 <= t <= 1 on which rows are bounded."""


def layer_rows(n: int, t: Tensor) -> Tensor:
    """Largest absolute row sum of s times layer norm's Jacobian, times 1 + MARGIN; the root is convex in t^2 and t."""
    return (1.0 - t / 2 + torch.sqrt(n * t * t + 4.0 * (1.0 - t)) / 2) * OUTWARD


def rms_rows(n: int, t: Tensor) -> Tensor:
    """The same of RMS norm's."""
    return (1.0 - t / 2 + t * (math.sqrt(n) / 2)) * OUTWARD


def near_rows(n: int, t: Tensor) -> Tensor:
    """Another bound of layer norm's rows."""
    return (2.0 * (n - 1) / n + math.sqrt(n - 1) * t) * OUTWARD


def largest_rows(n: int, *bounds: Callable[[int, Tensor], Tensor]) -> float:
    """sup over t of sqrt(1 - t) times the rows: each bound is convex in t, so largest at an end of every part."""
    t = torch.linspace(0.0, 1.0, CELLS + 1, dtype=torch.float64, device="cpu")
    parts = torch.stack([torch.maximum(ends[:-1], ends[1:]) for ends in (rows(n, t) for rows in bounds)])
    return float((torch.sqrt(1.0 - t[:-1]) * parts.amin(0)).max()) * OUTWARD


@dataclass(frozen=True, eq=False)
class Normalizer:
    """x -> gain (x - mean) / sqrt(var + eps) + bias, eps >= 0, over groups of entries of a flat vector.

    `index` is `(groups, n)`, positions in the flat vector; `gain` and `bias` have one entry a position, and radii where
    they were computed.
    """

    index: Tensor
    eps: float
    gain: Tensor
    bias: Tensor
    gain_radius: Tensor | None = None
    bias_radius: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """`(B, *shape)` -> `(B, size)`."""
        grouped = x.flatten(1)[:, self.index]
        spread, mean = torch.var_mean(grouped, -1, correction=0, keepdim=True)
        return self._placed((grouped - mean) / torch.sqrt(spread + self.eps)) * self.gain + self.bias

    def _placed(self, grouped: Tensor) -> Tensor:
        """Groups `(..., groups, n)` back to flat positions."""
        order = torch.argsort(self.index.flatten())
        return grouped.flatten(-2)[..., order]

    def constants(self) -> Constants:
        """On the whole space; infinite without a positive eps."""
        n, largest = self.index.shape[1], self._gains().max()
        steepest = math.inf if self.eps == 0 else _quotient(largest, torch.tensor(self.eps, dtype=torch.float64).sqrt())
        return norms(0.0 if n == 1 else steepest, largest_rows(n, layer_rows, near_rows))

    def local(self, lower: Tensor, upper: Tensor) -> Constants:
        """On `lower <= x <= upper`."""
        n, least = self.index.shape[1], self._deviations(lower, upper)[0]
        gains = self._gains()[self.index].amax(1, keepdim=True)
        near = norms(0.0 if n == 1 else _quotient(gains, least), max(2.0, (1 + math.sqrt(n)) / 2))
        return {p: min(near[p], constant) for p, constant in self.constants().items()}

    def range(self, _function: object, lower: Tensor, upper: Tensor) -> Ends:
        """No entry of a group is more than sqrt(n - 1) deviations away from the mean."""
        n = self.index.shape[1]
        below, above = self._centred(lower, upper)
        least, most = self._deviations(lower, upper)
        reach = math.sqrt(n - 1) * OUTWARD
        low, high = widened(torch.minimum(below / least, below / most), torch.maximum(above / least, above / most), 0.0)
        low, high = self._placed(torch.stack([low, high]).clamp(-reach, reach))
        scaled = product((low, high), around(self.gain, self.gain_radius))
        return total(scaled, around(self.bias, self.bias_radius))

    def _gains(self) -> Tensor:
        """The largest size of every gain."""
        return magnitude(around(self.gain, self.gain_radius))

    @property
    def partials(self) -> Partials:
        """gain (I - 11^T/n - z z^T/n) / s."""
        return Partials(self.index, self._partials)

    def _partials(self, lower: Tensor, upper: Tensor) -> Ends:
        n, plain = self.index.shape[1], torch.ones_like(self.gain)
        z = Normalizer(self.index, self.eps, plain, torch.zeros_like(plain)).range(None, lower, upper)
        gain = Interval(*(end[self.index][:, :, None] for end in around(self.gain, self.gain_radius)))
        return projected(z, self.index, 1.0 / n, share=1.0 / n, divisor=self._deviations(lower, upper), gain=gain)

    def _centred(self, lower: Tensor, upper: Tensor) -> Ends:
        """Bounds of x - mean, `(groups, n)`: (1 - 1/n) x_i minus the others' sum over n."""
        n = self.index.shape[1]
        low, high = lower[self.index], upper[self.index]
        small, large = low / n, high / n  # whose sums overflow only where the mean does
        below = low - (large.sum(1, keepdim=True) - large + small)
        above = high - (small.sum(1, keepdim=True) - small + large)
        allowance = (MARGIN + gamma(n)) * torch.maximum(low.abs(), high.abs()).amax(1, keepdim=True) + 4 * n * TINY
        return below - allowance, above + allowance

    def _deviations(self, lower: Tensor, upper: Tensor) -> Ends:
        """Bounds of sqrt(var + eps), `(groups, 1)`: the deviation is a seminorm, 1/sqrt(n)-Lipschitz."""
        n = self.index.shape[1]
        low, high = lower[self.index], upper[self.index]
        middle = (low + high) / 2
        radius = torch.linalg.vector_norm(torch.maximum(high - middle, middle - low), dim=1, keepdim=True)
        spread = torch.linalg.vector_norm(middle - middle.mean(1, keepdim=True), dim=1, keepdim=True)
        lost = (MARGIN + gamma(n)) * (radius + torch.linalg.vector_norm(middle, dim=1, keepdim=True)) + UNDERFLOWN
        least = torch.nan_to_num((spread - radius - lost).clamp(min=0.0) / math.sqrt(n), nan=0.0)
        most = torch.nan_to_num((spread + radius + lost) / math.sqrt(n), nan=math.inf, posinf=math.inf)
        least = least.clamp(max=LARGEST)  # an infinite deviation would make slopes 0
        return (least.square() + self.eps).sqrt() / OUTWARD, (most.square() + self.eps).sqrt() * OUTWARD


def projected(z: Ends, index: Tensor, mean: float, *, share: float, divisor: Ends, gain: Interval | float) -> Ends:
    """Entries of gain (I - mean 11^T - share z z^T) / divisor, `(groups, n, n)`, for `z` flat and divisors
    `(groups, 1)`; `mean` and `share` are rounded, and the diagonal, of a projection, lies between 0 and 1.
    """
    low, high = (end[index] for end in z)
    about, part = (
        Interval.of(mean * (1 - MARGIN), mean * (1 + MARGIN)),
        Interval.of(share * (1 - MARGIN), share * (1 + MARGIN)),
    )
    mixed = Interval(low[:, :, None], high[:, :, None]) * Interval(low[:, None], high[:, None])
    entries = -(about + part * mixed)
    own = (1.0 + -(about + part * Interval(low, high).square())).within(0.0, 1.0)
    diagonal = torch.eye(low.shape[1], dtype=torch.bool, device=low.device)
    entries = choose(diagonal, Interval(own.lower[:, :, None], own.upper[:, :, None]), entries)
    return (entries / Interval(divisor[0][:, :, None], divisor[1][:, :, None]) * gain).ends


def _quotient(gains: Tensor, least: Tensor) -> float:
    """The largest gain over a deviation, rounded up: what underflows is not 0 unless the gain is."""
    shares = torch.nan_to_num(OUTWARD * (gains / least) + 2.0 * TINY, nan=math.inf, posinf=math.inf)
    return float(torch.where(gains == 0.0, 0.0, shares).max())


def norms(steepest: float, rows: float) -> Constants:
    """Of a symmetric Jacobian of 2-norm `steepest` whose rows are `rows` times that at most."""
    by_rows = up_mul(steepest, up_mul(rows, OUTWARD))
    return {"1": by_rows, "2": steepest, "inf": by_rows}


def _normalized(builder: Builder, call: Call, index: Tensor, gain: Constant, bias: Constant) -> Linear:
    """The node of a normaliser over groups of positions; `gain` and `bias` broadcast to the value's shape."""
    value, eps = only_dependent(call), float(call.arguments["eps"])
    if not eps >= 0.0:
        raise UnsupportedOperator(f"{call.place} with eps {eps:g}, which is below zero, has no rule")

    def flat(entries: Tensor) -> Tensor:
        return entries.to(torch.float64).expand(value.shape).reshape(-1)

    radii = [None if given.radius is None else flat(given.radius) for given in (gain, bias)]
    if radii[0] is not None and not bool(torch.isfinite(radii[0]).all()):
        cause = f": {gain.cause}" if gain.cause else ""
        raise UnsupportedOperator(f"{call.place}: its gain comes from an operation without a rounding rule{cause}")
    normalizer = Normalizer(index, eps, flat(gain.value), flat(bias.value), *radii)
    return builder.nonlinear(
        value,
        value.shape,
        normalizer,
        normalizer.constants(),
        "normalization",
        origin=call.origin,
        enclosure=normalizer.range,
        local=normalizer.local,
        partials=normalizer.partials,
    )


def _parameter(call: Call, key: str, default: float) -> Constant:
    constant: Constant | None = call.arguments[key]
    return Constant(torch.tensor(default, dtype=torch.float64)) if constant is None else constant


def _channelwise(call: Call, rank: int) -> tuple[Constant, Constant]:
    """Gain and bias with one entry a channel, the second of `rank` axes."""
    pair = _parameter(call, "weight", 1.0), _parameter(call, "bias", 0.0)
    gain, bias = (entries.moved(lambda part: part.reshape(-1, *[1] * (rank - 2))) for entries in pair)
    return gain, bias


@rule("native_layer_norm.default")
def layer_norm(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Layer norm over the trailing `normalized_shape`: max|gamma| / sqrt(eps)."""
    index = only_dependent(call).positions().reshape(-1, math.prod(call.arguments["normalized_shape"]))
    gain, bias = _parameter(call, "weight", 1.0), _parameter(call, "bias", 0.0)
    return (_normalized(builder, call, index, gain, bias),)


@rule("native_group_norm.default")
def group_norm(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Group norm: every group is a layer norm of its channels and positions."""
    value = only_dependent(call)
    index = value.positions().reshape(value.shape[0] * call.arguments["group"], -1)
    return (_normalized(builder, call, index, *_channelwise(call, len(value.shape))),)


def batch_statistics_norm(builder: Builder, call: Call) -> Linear:
    """Batch norm by the batch's own statistics (instance norm): a layer norm of every channel's entries."""
    value = only_dependent(call)
    index = value.positions().movedim(1, 0).flatten(1)
    return _normalized(builder, call, index, *_channelwise(call, len(value.shape)))
