"""Matrices that a graph makes out of others: norms, solutions, inverses, exponentials, products of reflections.

A solution is enclosed from behind: for an approximate inverse R and an approximate solution X with
||I - R A|| = d < 1 in the infinity norm, the solution is within ||R (B - A X)|| / (1 - d) of X, column by column,
since X* - X = (I - (I - R A))^-1 R (B - A X). Errors of A and B count by themselves: both residuals are computed for
all that they may be (Rump, Verification methods, Acta Numerica 2010, section 10).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..network.call import Call
from .functions import one_over, reciprocal, square_root
from .multiplication import product
from .number import UP, Number, Unable, add, exact, magnitude, middle, sign
from .table import Arguments, axes, error_of, number, rule

TERMS = 32
"""Of the exponential's series: for a norm of at most 1/2 the rest is below 2^-154."""

REST = 2.0**-150
"""More than the rest of the series, as a norm."""


@rule("dot.default", "vdot.default")
def inner_product(_call: Call, a: Arguments, places: int) -> Number:
    """<a, b>."""
    left, right = number(a["input"]), number(a.get("tensor", a.get("other")))
    return product(torch.dot, left, right, left.shape[0], places)


@rule("_linalg_solve_ex.default")
def solution(_call: Call, a: Arguments, places: int) -> tuple[Any, ...]:
    """A X = B, or X A = B; B may hold vectors."""
    matrix, right = number(a["A"]), number(a["B"])
    is_vector = len(right.shape) == len(matrix.shape) - 1 and right.shape == matrix.shape[:-1]
    right = right.moved(lambda v: v.unsqueeze(-1)) if is_vector else right
    if a["left"]:
        solution = solved(matrix, right, places)
    else:
        solution = _transposed(solved(_transposed(matrix), _transposed(right), places))
    return (solution.moved(lambda v: v.squeeze(-1)) if is_vector else solution, None, None, None)


@rule("linalg_inv_ex.default")
def inverse(_call: Call, a: Arguments, places: int) -> tuple[Any, ...]:
    """A^-1."""
    matrix = number(a.get("A", a.get("input")))
    return solved(matrix, _identity(matrix), places), None


def solved(a: Number, b: Number, places: int) -> Number:
    """A^-1 B; Unable for a matrix that may be singular."""
    inverted, info = torch.linalg.inv_ex(middle(a))
    if bool(info.any()):
        raise Unable("a singular matrix")
    r = exact(inverted)
    x = _times(r, b, places)
    for _ in range(places):  # each round adds what float64 is right by
        residual = add(b, _times(a, x, places), places, -1.0)
        x = replace(add(x, _times(r, replace(residual, error=None), places), places), error=None)
    defect = magnitude(add(_identity(a), _times(r, a, places), places, -1.0)).sum(-1) * UP
    d = float(defect.max()) * UP
    if not d < 1.0:
        raise Unable("a matrix that may be singular")
    rest = magnitude(_times(r, add(b, _times(a, x, places), places, -1.0), places))
    away = rest.amax(-2, keepdim=True) / (1.0 - d) * UP * UP
    return replace(x, error=away.expand(x.shape))


@rule("linalg_matrix_exp.default")
def exponential(_call: Call, a: Arguments, places: int) -> Number:
    """exp(A) = exp(A / 2^s)^(2^s), by the series where the infinity norm is at most 1/2."""
    matrix = number(a["input"])
    size = float(magnitude(matrix).sum(-1).max()) * UP
    if not size < 2.0**20:
        raise Unable("the exponential of a large matrix")
    halvings = max(math.frexp(size)[1] + 1, 0)
    small = product(torch.mul, number(2.0**-halvings), matrix, 1, places)
    eye = _identity(matrix)
    total = eye
    for k in range(TERMS, 0, -1):
        term = product(torch.mul, one_over(float(k), places), _times(small, total, places), 1, places)
        total = add(eye, term, places)
    total = replace(total, error=(error_of(total) + REST) * UP)
    for _ in range(halvings):
        total = _times(total, total, places)
    return total


@rule("linalg_householder_product.default")
def reflections(_call: Call, a: Arguments, places: int) -> Number:
    """The first columns of H_1 ... H_k, H_i = I - tau_i v_i v_i^T, v_i = (0, .., 0, 1, A below the diagonal)."""
    matrix, tau = number(a["input"]), number(a["tau"])
    shape = matrix.shape
    vectors = add(matrix.moved(lambda v: v.tril(-1)), _identity(matrix), places)
    product_ = exact(torch.eye(shape[-2], shape[-1], dtype=torch.float64).expand(shape))
    for i in reversed(range(tau.shape[-1])):
        v, scale = _column(vectors, i), tau.moved(lambda t, i=i: t[..., i, None, None])  # type: ignore[misc]
        across = _times(_transposed(v), product_, places)
        product_ = add(product_, _times(product(torch.mul, scale, v, 1, places), across, places), places, -1.0)
    return product_


@rule("linalg_vector_norm.default")
def vector_norm(_call: Call, a: Arguments, places: int) -> Number:
    """||x||_2 over dimensions, ||x||_1 too."""
    x, order = number(a["input"]), float(a["ord"])
    dims = axes(a["dim"], len(x.shape))
    if order not in (1.0, 2.0):
        raise Unable(f"a vector norm of order {order:g}")
    sizes = _absolute(x) if order == 1.0 else product(torch.mul, x, x, 1, places)
    summed = added(sizes, dims, bool(a["keepdim"]), places)
    return summed if order == 1.0 else square_root(summed, places)


@rule("_weight_norm_interface.default")
def weight_norm(_call: Call, a: Arguments, places: int) -> tuple[Number, Number]:
    """g v / ||v||, the norm over all dimensions but one."""
    v, g = number(a["v"]), number(a["g"])
    dims = [d for d in range(len(v.shape)) if d != a["dim"] % len(v.shape)]
    norm = square_root(added(product(torch.mul, v, v, 1, places), dims, True, places), places)
    share = product(torch.mul, g, reciprocal(norm, places), 1, places)
    return product(torch.mul, share, v, 1, places), norm


def added(x: Number, dims: list[int], keepdim: bool, places: int) -> Number:
    """The sum over dimensions."""
    count = math.prod(x.shape[d] for d in dims)

    def summed(_one: Tensor, values: Tensor) -> Tensor:
        return values.sum(dims, keepdim) if dims else values

    return product(summed, number(1.0), x, max(count, 1), places)


def _absolute(x: Number) -> Number:
    return Number(x.digits * torch.where(sign(x) < 0, -1.0, 1.0), x.exponent, x.error)


def _times(a: Number, b: Number, places: int) -> Number:
    return product(torch.matmul, a, b, a.shape[-1], places)


def _identity(like: Number) -> Number:
    return exact(torch.eye(like.shape[-2], like.shape[-1], dtype=torch.float64).expand(like.shape))


def _transposed(x: Number) -> Number:
    return x.moved(lambda v: v.mT)


def _column(x: Number, i: int) -> Number:
    return x.moved(lambda v: v[..., i : i + 1])
