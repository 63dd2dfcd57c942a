"""Sharper constants for attention, softmax(f Q K^T) V, in the 2-norm on a bounded domain.

Row i of the derivative in P V is sum_j P_ij (v_j - v_i') dS_ij, with v_i' the mean of the v_j under P_i. Since the
spread of a set about its mean is at most that about any point, with rho the radius of a set of tokens:

    dS = f dQ K^T:  || Cov_i(v, k) dq_i || f           <= f rho_V rho_K ||dQ||
    dS = f Q dK^T:  f ||q_i|| rho_V sqrt(sum_j P_ij ||dk_j||^2)  <= f rho_V max||q_i|| sqrt(n) ||dK||

and ||P dV|| <= sqrt(n) ||dV||, where n may be replaced by the largest column sum of P. Bounding the factors one
after another instead, as for any two matrix products, costs a factor of up to n / 2 in the first term. A token's
distance from where it is at the domain's centre is bounded by its interval, and by L R: the constant of the
walk so far times the domain's radius.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..bounds.local import Local, stochastic_norm
from ..network.nodes import Affine, Node, Nonlinear
from ..network.products import MatrixProduct
from ..operators.base import LinearOperator
from ..operators.composite import Composed
from ..operators.diagonal import Diagonal
from ..operators.reshape import Reshape
from ..operators.rounding import TINY, up_add, up_mul, up_sum, widened
from ..operators.scaling import safe_norm
from .ways import Way


def attention_ways(
    node: MatrixProduct, ways: Sequence[Way], local: Local, constants: Mapping[Node, float]
) -> Sequence[Way]:
    """The ways into an attention's output from its queries, keys and values, where that is less than `ways`."""
    inputs = _logits(node) if local.bounded else None
    if inputs is None:
        return ways
    logits, factor = inputs
    batch, _, _, width = node.sizes
    values = _radius(_ends(node.right, local, (batch, -1, width)), constants[node.right], local.radius)
    keys = _radius(
        [end.mT for end in _ends(logits.right, local, (batch, logits.sizes[2], -1))],
        constants[logits.right],
        local.radius,
    )
    queries = _largest(_ends(logits.left, local, (-1, logits.sizes[2])), constants[logits.left], local.radius)
    (probabilities,) = node.factors(local.magnitudes(node.left), local.magnitudes(node.right))[0]
    root = stochastic_norm(probabilities, "2")
    sharper = [
        Way(logits.left, None, up_mul(factor, up_mul(values, keys))),
        Way(logits.right, None, up_mul(factor, up_mul(values, up_mul(queries, root)))),
        Way(node.right, None, root),
    ]
    return min((ways, sharper), key=lambda some: up_sum([up_mul(way.factor, constants[way.source]) for way in some]))


def _logits(node: MatrixProduct) -> tuple[MatrixProduct, float] | None:
    """The product f Q K^T whose softmax is the left factor, with |f|; a constant mask may have been added."""
    if not (node.stochastic and isinstance(node.left, Nonlinear)):
        return None
    source, factor = node.left.source, 1.0
    if isinstance(source, Affine) and len(source.terms) == 1:
        (term,) = source.terms
        scale = _uniform_scale(term.operator)
        if scale is None:
            return None
        source, factor = term.source, scale
    b, n, k, _ = node.sizes
    if isinstance(source, MatrixProduct) and (source.sizes[0], source.sizes[1], source.sizes[3]) == (b, n, k):
        return source, factor
    return None


def _uniform_scale(operator: LinearOperator) -> float | None:
    """|c| of an operator that multiplies every entry by one number c; None for any other."""
    factor = 1.0
    for part in operator.parts if isinstance(operator, Composed) else (operator,):
        if isinstance(part, Diagonal) and part.weight.numel() == 1:
            factor = up_mul(factor, up_add(abs(float(part.weight)), part.error))
        elif not isinstance(part, Reshape):
            return None
    return factor


def _ends(node: Node, local: Local, shape: tuple[int, ...]) -> list[Tensor]:
    """The node's interval on the domain, and its enclosure at the domain's centre: four ends as tokens."""
    around, at = local.intervals[node], local.centre[node]
    return [end.reshape(shape) for end in (around.lower, around.upper, at.lower, at.upper)]


def _radius(ends: Sequence[Tensor], constant: float, reach: float) -> float:
    """Radius of tokens `(batch, tokens, width)` about the mean of their places at the domain's centre."""
    middle = ends[2].mean(1, keepdim=True)
    return _largest([end - middle for end in ends], constant, reach)


def _largest(ends: Sequence[Tensor], constant: float, reach: float) -> float:
    """Largest 2-norm of a token: by its interval, or from the centre by the constant times the domain's radius."""
    around, at = (torch.maximum(low.abs(), high.abs()) for low, high in (ends[:2], ends[2:]))
    return min(_longest(around), up_add(_longest(at), up_mul(constant, reach)))


def _longest(rows: Tensor) -> float:
    """Upper bound of the largest 2-norm of a row."""
    longest = float(safe_norm(rows, 2.0).max())
    return up_add(widened(longest, rows.shape[-1] + 4), 4.0 * TINY) if math.isfinite(longest) else math.inf
