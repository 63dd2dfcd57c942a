"""The shapes that a script's inputs can have, found by running it: TorchScript stores none.

What fixes a size may stand anywhere: a first layer behind slices, a history that is viewed as steps, an encoder whose
result is put beside the observation. So sizes are tried, all that could be meant, and taken only where exactly one
choice of them runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution
from torch.utils import _pytree as pytree

from app.lipschitz.artifact import dtypes
from app.lipschitz.artifact.captured import TensorSpec

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
    module: torch.jit.ScriptModule, inputs: Sequence[TensorSpec], first: Sequence[str] | None
) -> list[list[int]] | None:
    """The only shapes that the script runs on, one for each input; None where there are none, or several.

    `first` is what the first layer takes: numbers, and letters for sizes that it leaves open.
    """
    if sum(parameter.numel() for parameter in module.parameters()) > MAX_TRIED_PARAMETERS:
        return None
    types = [dtypes.to_torch(spec.datatype) for spec in inputs]
    runnable = (shapes for shapes in _candidates(module, len(inputs), first) if _runs(module, shapes, types))
    found = list(islice(runnable, 2))
    return [list(shape) for shape in found[0]] if len(found) == 1 else None


def _candidates(module: torch.jit.ScriptModule, count: int, first: Sequence[str] | None) -> Iterator[Shapes]:
    if count > 1:
        yield from islice(product([(1, width) for width in _widths(module)], repeat=count), MAX_TRIES)
    elif first is not None and len(first) > VECTOR:
        yield from ((tuple(int(size) if size.isdecimal() else side for size in first),) for side in SIDES)
    else:
        yield from (((1, width),) for width in range(1, MAX_WIDTH + 1))


def _widths(module: torch.jit.ScriptModule) -> list[int]:
    """What the matrices of the script take, and what is left of that beside another's result or input."""
    matrices = [p.shape for p in module.parameters() if p.ndim == 2]
    takes, gives = {shape[1] for shape in matrices}, {shape[0] for shape in matrices}
    return sorted(takes | {large - small for large in takes for small in takes | gives if small < large})


def _runs(module: torch.jit.ScriptModule, shapes: Shapes, types: Sequence[torch.dtype]) -> bool:
    examples = [torch.full(shape, 0.5, dtype=dtype) for shape, dtype in zip(shapes, types, strict=True)]
    try:
        with torch.no_grad(), optimized_execution(False):
            return all(map(_is_one_row, pytree.tree_leaves(module(*examples))))
    except Exception:  # whatever a script raises
        return False


def _is_one_row(result: object) -> bool:
    """One row gives one: a view as rows can make several of it, and a slice beyond the input's end is empty."""
    return not isinstance(result, Tensor) or (result.numel() > 0 and (result.ndim < VECTOR or result.shape[0] == 1))
