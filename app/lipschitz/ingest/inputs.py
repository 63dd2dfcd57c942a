"""From declared to concrete inputs: open dimensions, the caller's shapes, deterministic samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..artifact import dtypes
from ..artifact.captured import InputShapes, TensorSpec
from ..errors import InvalidInputs, UnsupportedOperator

MAX_ELEMENTS = 1 << 28
"""Elements of one tensor that a run may be asked for."""

BATCH = re.compile("batch", re.IGNORECASE)
SEQUENCE = re.compile(r"seq|token|time|frame|step|length|(^|_)len($|_)|^[tsl]$", re.IGNORECASE)
"""How exporters name open axes."""
DEFAULT_LENGTH = 16
"""Steps of a sequence where nobody says how many."""


def require_floating(inputs: Sequence[TensorSpec]) -> None:
    """Refuse models whose value depends on inputs that have no derivative."""
    if not inputs:
        raise UnsupportedOperator("The model has no inputs: it is a constant.")
    for spec in inputs:
        if spec.datatype not in dtypes.FLOATING:
            raise UnsupportedOperator(
                f"Input '{spec.name}' is {spec.datatype}: only floating-point inputs can be differentiated, "
                "so integer, boolean and image-byte inputs must be made constants or float before the export."
            )


def concrete(
    declared: Sequence[TensorSpec], symbols: Sequence[Sequence[str] | None], shapes: InputShapes | None
) -> tuple[TensorSpec, ...]:
    """Every input with all sizes fixed.

    `symbols` names the open dimensions, input by input, '' where fixed or unnamed; None where the file does not even
    tell the rank. A name that the caller's shapes fix once is fixed everywhere; a leading open dimension, and one that
    is named for it, is the batch and becomes 1; one that is named for a sequence becomes `DEFAULT_LENGTH`. What is
    open then is asked for: InvalidInputs.
    """
    given = _given_shapes(declared, shapes)
    declared = [
        spec if names is not None else _of_any_size(spec, shape)
        for spec, names, shape in zip(declared, symbols, given, strict=True)
    ]
    names = [["" for _ in spec.shape] if n is None else n for spec, n in zip(declared, symbols, strict=True)]
    fixed = _fixed_symbols(declared, names, given)
    return tuple(
        _fit(spec, shape if shape is not None else _completed(spec, labels, fixed))
        for spec, labels, shape in zip(declared, names, given, strict=True)
    )


def _of_any_size(spec: TensorSpec, shape: list[int] | None) -> TensorSpec:
    if shape is None:
        raise InvalidInputs(f"The file says nothing about the shape of input '{spec.name}': give it in inputs.")
    return replace(spec, shape=(-1,) * len(shape))


def _given_shapes(declared: Sequence[TensorSpec], shapes: InputShapes | None) -> list[list[int] | None]:
    if shapes is None:
        return [None] * len(declared)
    if isinstance(shapes, dict):
        unknown = sorted(set(shapes) - {spec.name for spec in declared})
        if unknown:
            names = ", ".join(repr(spec.name) for spec in declared)
            raise InvalidInputs(f"No input is called {unknown[0]!r}; the model's inputs are {names}.")
        return [shapes.get(spec.name) for spec in declared]
    if len(shapes) != len(declared):
        raise InvalidInputs(f"{len(shapes)} shapes were given for {len(declared)} inputs.")
    return list(shapes)


def _fixed_symbols(
    declared: Sequence[TensorSpec], symbols: Sequence[Sequence[str]], given: Sequence[list[int] | None]
) -> dict[str, int]:
    fixed = {name: size for names in symbols for name in names if name and (size := _size_meant(name))}
    fixed |= {names[0]: 1 for spec, names in zip(declared, symbols, strict=True) if _has_open_batch(spec) and names[0]}
    for names, shape in zip(symbols, given, strict=True):
        fixed.update({name: size for name, size in zip(names, shape or [], strict=False) if name})
    return fixed


def assumed(
    inputs: Sequence[TensorSpec], symbols: Sequence[Sequence[str] | None], shapes: InputShapes | None
) -> tuple[str, ...]:
    """What is to be said of the sizes that `concrete` took for open axes which are no batch."""
    given = _given_shapes(inputs, shapes)
    return tuple(
        f"Axis {axis} ('{name}') of input '{spec.name}' is open in the file and was taken to be {spec.shape[axis]}: "
        "give inputs for another size."
        for spec, names, shape in zip(inputs, symbols, given, strict=True)
        for axis, name in enumerate(names or ())
        if shape is None and axis and name and SEQUENCE.search(name) and not BATCH.search(name)
    )


def _size_meant(name: str) -> int | None:
    """What an open axis of that name is taken to be, if it is named for what it is."""
    if BATCH.search(name):
        return 1
    return DEFAULT_LENGTH if SEQUENCE.search(name) else None


def _has_open_batch(spec: TensorSpec) -> bool:
    """The leading axis of a tensor with more axes is taken to be the batch."""
    return len(spec.shape) > 1 and spec.shape[0] < 0


def _completed(spec: TensorSpec, names: Sequence[str], fixed: dict[str, int]) -> list[int]:
    shape = [size if size > 0 else fixed.get(name, -1) for size, name in zip(spec.shape, names, strict=True)]
    if _has_open_batch(spec) and not names[0]:
        shape[0] = 1
    if -1 in shape:
        raise _open_dimensions(spec, names, shape)
    return shape


def _open_dimensions(spec: TensorSpec, names: Sequence[str], shape: Sequence[int]) -> InvalidInputs:
    still_open = [axis for axis, size in enumerate(shape) if size < 0]
    named = ", ".join(f"axis {axis} ({names[axis]})" if names[axis] else f"axis {axis}" for axis in still_open)
    example = ", ".join(names[axis] or "?" if size < 0 else str(size) for axis, size in enumerate(shape))
    return InvalidInputs(
        f"Input '{spec.name}' of shape {list(spec.shape)} leaves open: {named}. "
        f'Give its shape: inputs={{"{spec.name}": [{example}]}} with numbers for the open sizes.'
    )


def _fit(declared: TensorSpec, shape: Sequence[int]) -> TensorSpec:
    """`declared` with the caller's shape; raises InvalidInputs where the two contradict each other."""
    if any(size < 1 for size in shape):
        raise InvalidInputs(f"Shape {list(shape)} of input '{declared.name}' holds a size below 1.")
    if math.prod(shape) > MAX_ELEMENTS:
        raise InvalidInputs(f"Shape {list(shape)} of input '{declared.name}' is too large to run.")
    fixed = declared.shape
    matches = len(fixed) == len(shape) and all(size in (-1, asked) for size, asked in zip(fixed, shape, strict=True))
    if not matches:
        raise InvalidInputs(f"Shape {list(shape)} does not fit input '{declared.name}', declared as {list(fixed)}.")
    return replace(declared, shape=tuple(shape))


def samples(inputs: Sequence[TensorSpec], seed: int, count: int = 3) -> Iterator[list[Tensor]]:
    """`count` inputs of growing scale, deterministic by `seed`: noise of scale 1/4, 1 and 4, the middle one
    shifted to [0, 1] as images are."""
    generator = torch.Generator().manual_seed(seed)
    for position in range(count):
        yield [_sample(spec, position, generator) for spec in inputs]


def _sample(spec: TensorSpec, position: int, generator: torch.Generator) -> Tensor:
    if position % 3 == 1:
        value = torch.rand(spec.shape, generator=generator)
    else:
        value = torch.randn(spec.shape, generator=generator) * (0.25 if position % 3 == 0 else 4.0)
    return value.to(dtypes.to_torch(spec.datatype))
