"""Linear operators as sparse matrices, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from itertools import product
from math import prod

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..operators.base import LinearOperator
from ..operators.convolution import Convolution
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from .balls import Array
from .matrices import TooLarge, array

MOST_ENTRIES = 2**25
"""Of one sparse matrix: 12 bytes each."""


@singledispatch
def entries(operator: LinearOperator) -> sp.csr_array:
    """Read off with unit vectors, which rounds nothing."""
    if operator.in_size * operator.out_size > MOST_ENTRIES:
        raise TooLarge(f"a matrix of {operator.out_size} by {operator.in_size} entries is not taken apart")
    return sp.csr_array(array(operator.as_matrix()))


@entries.register
def _(operator: Reshape) -> sp.csr_array:
    return sp.eye_array(operator.in_size, format="csr")


@entries.register
def _(operator: Diagonal) -> sp.csr_array:
    return sp.diags_array(array(operator.weight.expand(operator.out_shape).flatten()), format="csr")


@entries.register
def _(operator: Gather) -> sp.csr_array:
    index = operator.index.cpu().numpy()
    rows = np.flatnonzero(index >= 0)
    return _assembled([rows], [index[rows]], [np.ones(len(rows))], (operator.out_size, operator.in_size))


@entries.register
def _(operator: Convolution) -> sp.csr_array:
    """y[o, j] = sum kernel[o, c, t] x[c, stride j + dilation t - lo], tap by tap."""
    images, c_in, *sides = operator.in_shape
    c_out, *out_sides = operator.out_shape[1:]
    if operator.kernel.numel() * int(np.prod(out_sides)) * images > MOST_ENTRIES:
        raise TooLarge("a convolution has too many entries to be taken apart")
    kernel, group = array(operator.kernel).reshape(c_out, -1, prod(operator.taps)), c_in // operator.groups
    outs = np.arange(c_out)
    ins = (outs // (c_out // operator.groups))[:, None] * group + np.arange(group)
    rows, columns, values = [], [], []
    for number, tap in enumerate(product(*map(range, operator.taps))):
        target, source = _positions(operator, tap, sides, out_sides)
        shape = (c_out, group, len(target))
        rows.append(np.broadcast_to(outs[:, None, None] * np.prod(out_sides, dtype=int) + target, shape).ravel())
        columns.append(np.broadcast_to(ins[:, :, None] * np.prod(sides, dtype=int) + source, shape).ravel())
        values.append(np.broadcast_to(kernel[:, :, number, None], shape).ravel())
    one = _assembled(rows, columns, values, (operator.out_size // images, operator.in_size // images))
    return one if images == 1 else sp.block_diag([one] * images, format="csr")


def _positions(
    operator: Convolution, tap: Sequence[int], sides: Sequence[int], out_sides: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Output points that a tap feeds, and the input points that it reads there, both flat."""
    target, source = np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.intp)
    settings = zip(operator.stride, operator.dilation, operator.padding, tap, sides, out_sides, strict=True)
    for stride, dilation, (before, _), t, n, m in settings:
        j = np.arange(m)
        read = stride * j + dilation * t - before
        inside = (read >= 0) & (read < n)
        target = (target[:, None] * m + j[inside]).ravel()
        source = (source[:, None] * n + read[inside]).ravel()
    return target, source


def _assembled(
    rows: Sequence[NDArray[np.intp]],
    columns: Sequence[NDArray[np.intp]],
    values: Sequence[Array],
    shape: tuple[int, int],
) -> sp.csr_array:
    """Entries at places that are all different."""
    places = np.concatenate(list(rows)), np.concatenate(list(columns))
    assembled = sp.coo_array((np.concatenate(list(values)), places), shape=shape).tocsr()
    assembled.eliminate_zeros()
    return assembled
