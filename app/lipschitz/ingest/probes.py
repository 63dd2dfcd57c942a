"""A program is asked at many scales and in two orders; the graph that one run showed must answer alike every time.

The lists of what a program may consist of (`visible`, `script_graph`) are what keeps other behaviour out; this looks
for what they might have missed. Both sides compute in the model's own precision and with gradients on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter

from ..artifact import dtypes
from ..artifact.agreement import CEILING, HALF
from ..artifact.captured import TensorSpec
from ..errors import ConversionMismatch, InvalidModel, StatefulModel
from .messages import last_line
from .program import Function
from .torch_module import all_same

LARGE = 1 << 22
"""Parameters or inputs from which a program is asked less often: half a second a call on one core."""
FEW = 6
SEED = 1

Values = Callable[[torch.Size, torch.Generator], Tensor]


def _noise(scale: float) -> Values:
    return lambda shape, generator: scale * torch.randn(shape, generator=generator)


def _constant(value: float) -> Values:
    return lambda shape, _: torch.full(shape, value)


def _corner(lower: float, upper: float) -> Values:
    return lambda shape, generator: lower + (upper - lower) * torch.randint(2, shape, generator=generator)


def _whole(lower: int, upper: int) -> Values:
    return lambda shape, generator: torch.randint(lower, upper + 1, shape, generator=generator).float()


def _one_hot(shape: torch.Size, generator: torch.Generator) -> Tensor:
    x = torch.zeros(shape)
    x.view(-1)[torch.randint(x.numel(), (1,), generator=generator)] = 1.0
    return x


PLACES: tuple[Values, ...] = (
    _corner(0.0, 1.0),
    _corner(-1.0, 1.0),
    _whole(0, 255),
    _constant(0.0),
    _noise(1e3),
    _noise(1e-3),
    _noise(0.1),
    _noise(1.0),
    _noise(10.0),
    _noise(100.0),
    lambda shape, generator: -torch.randn(shape, generator=generator).abs(),
    _one_hot,
    _constant(1.0),
    _constant(-1.0),
    _constant(255.0),
    _whole(-3, 3),
    _noise(1e-2),
    _corner(0.0, 255.0),
)
"""Scales from 1e-3 to 1e3, and the domains that people ask for: [0, 1], [-1, 1], [0, 255] with their corners."""


def probe(traced: GraphModule, original: Function, inputs: Sequence[TensorSpec], parameters: int) -> None:
    """Raise ConversionMismatch where the two differ, StatefulModel where an answer depends on what was asked before."""
    size = parameters + sum(torch.Size(spec.shape).numel() for spec in inputs)
    samples = list(_samples(inputs, PLACES[: FEW if size > LARGE else None]))
    answers = [_ask(original, x) for x in samples]
    typical = [_typical(column) for column in zip(*answers, strict=True)]
    for x, answer in zip(samples, answers, strict=True):
        with torch.no_grad():
            ours = Interpreter(traced).run(*x)
        for y, z, scale in zip(answer, ours, typical, strict=True):
            _compare(y, z, scale)
    for x, answer in zip(reversed(samples), reversed(answers), strict=True):
        if not all_same(answer, _ask(original, x)):
            raise StatefulModel("The model's answer to an input depends on what it was asked before: it keeps state.")


def _samples(inputs: Sequence[TensorSpec], places: Sequence[Values]) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(SEED)
    for values in places:
        yield [values(torch.Size(spec.shape), generator).to(dtypes.to_torch(spec.datatype)) for spec in inputs]


def _ask(original: Function, x: Sequence[Tensor]) -> Sequence[Tensor]:
    try:
        return original(*x)
    except Exception as error:  # TorchScript's own exception types
        raise InvalidModel(f"The original cannot be run on every input: {last_line(error)}") from error


def _typical(outputs: Sequence[Tensor]) -> float:
    """The median of one output's magnitudes: what is far below it may be rounding and nothing else."""
    return statistics.median(_magnitude(y) for y in outputs)


def _magnitude(y: Tensor) -> float:
    finite = y[y.isfinite()]
    return float(finite.double().abs().max()) if finite.numel() else 0.0


def _compare(y: Tensor, z: Tensor, typical: float) -> None:
    if y.shape != z.shape:
        raise ConversionMismatch(f"An output's shape depends on the input's values: {list(y.shape)}, {list(z.shape)}.")
    if not y.is_floating_point():
        return
    both = y.isfinite() & z.isfinite()
    error = _magnitude((y.double() - z.double())[both])
    if error > CEILING.get(y.dtype, HALF) * max(_magnitude(y), typical):
        raise ConversionMismatch(
            f"The captured graph differs from the program by {error:.3g} at outputs of size {_magnitude(y):.3g}: the "
            "program does not compute the same everywhere."
        )
