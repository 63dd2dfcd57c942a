"""The shapes that a script's inputs can have, found by running it: TorchScript stores none.

What fixes a size may stand anywhere: a first layer behind slices, a history that is viewed as steps, an encoder whose
result is put beside the observation. So sizes are tried, all that could be meant, and taken only where exactly one
choice of them runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution
from torch.utils import _pytree as pytree

from ..artifact import dtypes
from ..artifact.captured import TensorSpec

MAX_WIDTH = 4096
"""Largest width of a vector that is tried one by one."""
MAX_TRIES = 4096
"""Of several inputs together."""
SIDES = (8, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 84, 96, 112, 128, 144, 160, 192, 224, 256)
"""Of square images, of cubes and of signals."""
MAX_TRIED_PARAMETERS = 20_000_000
"""A script with more takes too long for each try."""

VECTOR = 2
"""Axes of a batch of vectors."""

Shapes = tuple[tuple[int, ...], ...]


def only_shapes(
    module: torch.jit.ScriptModule,
    callee: Callable[..., Any],
    inputs: Sequence[TensorSpec],
    first: Sequence[str] | None,
) -> tuple[list[list[int]], str] | None:
    """The only shapes that the script runs on, one for each input, and why; None where there are none, or several.

    `first` is what the first layer takes: numbers, and letters for sizes that it leaves open. A longer vector whose
    end is not read is none of several.
    """
    if sum(parameter.numel() for parameter in module.parameters()) > MAX_TRIED_PARAMETERS:
        return None
    types = [dtypes.to_torch(spec.datatype) for spec in inputs]
    runnable = (s for s in _candidates(module, len(inputs), first) if _result(callee, _filled(s, types)) is not None)
    running = list(islice(runnable, 2))
    if len(running) == 1:
        return [list(shape) for shape in running[0]], "the only ones found that it runs on"
    if len(running) == VECTOR and len(inputs) == 1 and _leaves_end(callee, running[0][0], running[1][0], types[0]):
        return [list(running[0][0])], "all that it reads of longer ones"
    if len(running) == VECTOR and running[1] == ((1, 1),):
        return [list(running[0][0])], "the only ones found that it runs on without repeating one number"
    return None


def _leaves_end(callee: Callable[..., Any], short: Sequence[int], long: Sequence[int], dtype: torch.dtype) -> bool:
    """Whether a longer vector gives what its beginning gives, whatever comes after that, and the beginning counts."""
    if len(short) != VECTOR or len(long) != VECTOR or not 1 < short[1] < long[1]:
        return False
    whole = torch.randn(tuple(long), generator=torch.Generator().manual_seed(0)).to(dtype)
    elsewhere, within = whole.clone(), whole[:, : short[1]].clone()
    elsewhere[:, short[1] :] += 1.0
    within[:, -1] += 1.0
    first, *others, last = (_result(callee, [x.clone()]) for x in (whole[:, : short[1]], whole, elsewhere, within))
    return first is not None and all(_equal(first, other) for other in others) and not _equal(first, last)


def _equal(first: list[Tensor], second: list[Tensor] | None) -> bool:
    return second is not None and len(first) == len(second) and all(map(torch.equal, first, second))


def _candidates(module: torch.jit.ScriptModule, count: int, first: Sequence[str] | None) -> Iterator[Shapes]:
    if count > 1:
        yield from islice(product([(1, width) for width in _widths(module)], repeat=count), MAX_TRIES)
    elif first is not None and len(first) > VECTOR:
        yield from ((tuple(int(size) if size.isdecimal() else side for size in first),) for side in SIDES)
    else:
        yield from (((1, width),) for width in (*range(2, MAX_WIDTH + 1), 1))


def _widths(module: torch.jit.ScriptModule) -> list[int]:
    """What the matrices of the script take, and what is left of that beside another's result or input."""
    matrices = [p.shape for p in module.parameters() if p.ndim == 2]
    takes, gives = {shape[1] for shape in matrices}, {shape[0] for shape in matrices}
    return sorted(takes | {large - small for large in takes for small in takes | gives if small < large})


def _filled(shapes: Shapes, types: Sequence[torch.dtype]) -> list[Tensor]:
    return [torch.full(shape, 0.5, dtype=dtype) for shape, dtype in zip(shapes, types, strict=True)]


def _result(callee: Callable[..., Any], examples: Sequence[Tensor]) -> list[Tensor] | None:
    """The tensors that one row gives; None where the script does not run, or gives several rows."""
    try:
        with torch.no_grad(), optimized_execution(False):
            leaves = pytree.tree_leaves(callee(*examples))
    except Exception:  # whatever a script raises
        return None
    return [y for y in leaves if isinstance(y, Tensor)] if all(map(_is_one_row, leaves)) else None


def _is_one_row(result: object) -> bool:
    """One row gives one: a view as rows can make several of it, and a slice beyond the input's end is empty."""
    return not isinstance(result, Tensor) or (result.numel() > 0 and (result.ndim < VECTOR or result.shape[0] == 1))
