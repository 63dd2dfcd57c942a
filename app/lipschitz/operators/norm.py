"""Certified operator norms in l1, l2 and l-infinity.

`norm` answers with a bracket of the exact operator, that is of the stored numbers plus or minus `error`:
`upper` is proved, rounding included; `lower` is attained by some vector. For p = 2 every applicable strategy
runs and the least upper bound wins:

- dense: Gram matrix of the smaller side, proved by Cholesky (`dense_norm`);
- convolution: symbols on a torus (`convolution_norm`), and the dense matrix of small ones;
- product: scaled isometries at the ends are exact factors; product of the parts; a small inner dimension
  (`bottleneck`); the dense matrix of small ones. Sums, stacks and adjoints follow their parts.

Strategies that would end after the deadline are left out; `quick_norm` is always there. The power iteration is used
for lower bounds only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

from ..deadline import NEVER, SPENT, Deadline, OutOfTime
from .base import LinearOperator
from .bottleneck import bottleneck_norm
from .composite import Adjoint, Composed, Stack, Sum
from .convolution import Convolution, single_image
from .convolution_norm import torus_norm
from .dense import Dense
from .dense_norm import spectral_norm
from .diagonal import Diagonal
from .frobenius import frobenius
from .gather import Gather
from .isometry import attained, peeled
from .materialise import affordable, matrix_with_error, moderate
from .quick_norm import quick_norm, quick_spectral
from .reshape import Reshape
from .rounding import up_add, up_hypot, up_mul, up_product, up_sqrt, up_sum
from .sum_norm import sum_bracket
from .witness import witnessed

Norm = Literal["1", "2", "inf"]
"""Which norm both the input and the output space carry."""

_GRAM_WORK = 2e12
_GRAM_SIDE = 8192


@dataclass(frozen=True)
class NormBound:
    """lower <= ||A||_p <= upper for the exact operator; `method` names the strategy behind `upper`."""

    upper: float
    lower: float
    method: str


@dataclass(frozen=True)
class Effort:
    """When proofs of upper bounds have to end, and when the search for better witnesses does."""

    proof: Deadline = NEVER
    witness: Deadline = NEVER

    @property
    def for_parts(self) -> Effort:
        """Of a composite's parts only the upper bounds count."""
        return Effort(self.proof, SPENT)


WITNESS_SHARE = 0.1
"""Of the time that is left, at most, for one norm's witness."""


def norm(operator: LinearOperator, p: Norm = "2", deadline: Deadline = NEVER) -> NormBound:
    """Certified upper and witnessed lower bound of ||A||_p, the best that can be proved before the deadline.

    Never below the true norm. Given time, the relative excess is below 1e-9 for matrices up to about 2,000 on the
    smaller side; for convolutions the excess over the zero-padded operator is that of the torus.
    """
    if min(operator.in_size, operator.out_size) == 0:
        return NormBound(0.0, 0.0, "empty")
    if deadline.passed:
        return quick(operator, p)
    if p == "2":
        return _spectral(operator, Effort(deadline, deadline.share(WITNESS_SHARE)))
    transposed = Adjoint(operator) if p == "1" else operator
    upper, lower = sum_bracket(transposed, deadline)
    return NormBound(upper, lower, "column sums" if p == "1" else "row sums")


def quick(operator: LinearOperator, p: Norm = "2") -> NormBound:
    """The bound that costs no more than a look at the weights, without a witness."""
    return NormBound(quick_norm(operator, p), 0.0, "quick")


def _best(*bounds: NormBound) -> NormBound:
    """The least upper bound with its method, and the greatest lower bound."""
    winner = min(bounds, key=lambda bound: bound.upper)
    return NormBound(winner.upper, max(bound.lower for bound in bounds), winner.method)


def _off_by(bound: NormBound, error: float) -> NormBound:
    """From the stored to the exact operator."""
    if error == 0.0:
        return bound
    lower = max(0.0, math.nextafter(bound.lower - error, 0.0))
    return NormBound(up_add(bound.upper, error), lower, bound.method)


def _in_time(strategy: Callable[[], NormBound]) -> list[NormBound]:
    """The strategy's bound; none where time was too short."""
    try:
        return [strategy()]
    except OutOfTime:
        return []


def _explicit(operator: LinearOperator, effort: Effort) -> list[NormBound]:
    """The dense matrix's norm, of the stored operator; nothing when that is too large."""
    if not (affordable(operator) and moderate(operator)):
        return []
    return _in_time(lambda: _of_matrix(operator, effort))


def _of_matrix(operator: LinearOperator, effort: Effort) -> NormBound:
    matrix, error = matrix_with_error(operator, effort.proof)
    upper, lower = spectral_norm(matrix.unsqueeze(0), effort.proof)
    return _off_by(NormBound(upper, lower, "dense"), error)


@singledispatch
def _spectral(operator: LinearOperator, effort: Effort) -> NormBound:
    raise NotImplementedError(f"no certified norm for {type(operator).__name__}")


@_spectral.register
def _(operator: Reshape, effort: Effort) -> NormBound:  # noqa: ARG001 - one answer for all
    return NormBound(1.0, 1.0, "exact")


@_spectral.register
def _(operator: Gather, effort: Effort) -> NormBound:  # noqa: ARG001 - exact at once
    root = up_sqrt(float(operator.multiplicity[1]))
    return NormBound(root, attained(root), "exact")


@_spectral.register
def _(operator: Diagonal, effort: Effort) -> NormBound:  # noqa: ARG001 - exact at once
    largest = operator.absolute_sums()[0]
    return _off_by(NormBound(largest, largest, "exact"), operator.error)


@_spectral.register
def _(operator: Dense, effort: Effort) -> NormBound:
    columns, rows = operator.absolute_sums()
    bounds = [NormBound(up_mul(up_sqrt(columns), up_sqrt(rows)), 0.0, "hoelder")]
    small, large = sorted(operator.matrix.shape[-2:])
    proved: list[NormBound] = []
    if small <= _GRAM_SIDE and 2.0 * small**2 * large <= _GRAM_WORK:
        proved = _in_time(lambda: _of_gram(operator, effort))
    if not proved:
        bounds.append(NormBound(frobenius(operator), witnessed(operator, None, effort.witness), "frobenius"))
    return _off_by(_best(*bounds, *proved), operator.error)


def _of_gram(operator: Dense, effort: Effort) -> NormBound:
    upper, lower = spectral_norm(operator.matrix.reshape(-1, *operator.matrix.shape[-2:]), effort.proof)
    return NormBound(upper, lower, "gram")


@_spectral.register
def _(operator: Convolution, effort: Effort) -> NormBound:
    bounds = [*_in_time(lambda: _of_torus(operator, effort)), *_explicit(single_image(operator), effort)]
    return _best(*(_off_by(bound, operator.error) for bound in bounds)) if bounds else quick(operator)


def _of_torus(operator: Convolution, effort: Effort) -> NormBound:
    upper, lower = torus_norm(operator, effort.proof, effort.witness)
    return NormBound(upper, lower, "torus")


@_spectral.register
def _(operator: Adjoint, effort: Effort) -> NormBound:
    return _spectral(operator.operator, effort)


@_spectral.register
def _(operator: Composed, effort: Effort) -> NormBound:
    factor, parts = peeled(tuple(part for part in operator.parts if not isinstance(part, Reshape)))
    if not parts:
        return NormBound(factor, attained(factor), "exact")
    inner = _spectral(parts[0], effort) if len(parts) == 1 else _product(parts, effort)
    lower = inner.lower * attained(factor) * (1.0 - 2.0**-50)
    return NormBound(up_mul(factor, inner.upper), lower, inner.method)


def _product(parts: tuple[LinearOperator, ...], effort: Effort) -> NormBound:
    """At least two parts, none of them peeled."""
    product = up_product([_part(part, effort).upper for part in parts])
    whole = Composed(parts)
    bounds = [_off_by(bound, whole.error) for bound in _explicit(whole, effort)]
    if not bounds:
        bounds = [NormBound(math.inf, witnessed(whole, None, effort.witness), "product")]
        narrow = _in_time(lambda: _of_bottleneck(parts, effort)) if moderate(whole) else []
        bounds += [_off_by(bound, whole.error) for bound in narrow]
    return _best(NormBound(product, 0.0, "product"), *bounds)


def _part(operator: LinearOperator, effort: Effort) -> NormBound:
    """A part's upper bound; the quick one once time is over."""
    if effort.proof.passed:
        return NormBound(quick_spectral(operator), 0.0, "quick")
    return _spectral(operator, effort.for_parts)


def _of_bottleneck(parts: tuple[LinearOperator, ...], effort: Effort) -> NormBound:
    narrow = bottleneck_norm(parts, effort.proof)
    return NormBound(math.inf if narrow is None else narrow, 0.0, "bottleneck")


@_spectral.register
def _(operator: Sum, effort: Effort) -> NormBound:
    total = up_sum([_part(part, effort).upper for part in operator.parts])
    return _best(NormBound(total, 0.0, "sum"), *_together(operator, effort))


@_spectral.register
def _(operator: Stack, effort: Effort) -> NormBound:
    parts = [_part(part, effort) for part in operator.parts]
    root = up_hypot([part.upper for part in parts])
    return _best(NormBound(root, max(part.lower for part in parts), "stack"), *_together(operator, effort))


def _together(operator: LinearOperator, effort: Effort) -> list[NormBound]:
    """The dense bracket of the whole, or at least a witness."""
    explicit = _explicit(operator, effort) or [
        NormBound(math.inf, witnessed(operator, None, effort.witness), "witness")
    ]
    return [_off_by(bound, operator.error) for bound in explicit]
