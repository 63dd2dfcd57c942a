"""The table of operators on long numbers, and what its entries share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..network.call import Call
from ..register import Register
from .number import Number, aligned, exact

Arguments = dict[str, Any]
Rule = Callable[[Call, Arguments, int], Any]
"""The call, its arguments by name with `Number` for floating tensors, and how many digits to keep."""

RULES: Register[Rule] = Register()
rule = RULES.enter


def number(value: Any) -> Number:
    """A floating-point argument: a tensor's number, a literal's."""
    if isinstance(value, Number):
        return value
    return exact(torch.as_tensor(value, dtype=torch.float64))


def numbers_of(a: Arguments) -> list[Number]:
    """The long numbers among the arguments, each once."""
    numbers: dict[Number, None] = {}

    def collect(value: Any) -> None:
        if isinstance(value, Number):
            numbers[value] = None
        elif isinstance(value, list | tuple):
            for one in value:
                collect(one)

    for value in a.values():
        collect(value)
    return list(numbers)


def called(call: Call, given: Arguments) -> Any:
    """The operator itself on these arguments."""
    schema = call.target._schema.arguments
    names = ["input" if argument.name == "self" else argument.name for argument in schema]
    positional = [given[name] for name, one in zip(names, schema, strict=True) if not one.kwarg_only]
    return call.target(*positional, **{n: given[n] for n, one in zip(names, schema, strict=True) if one.kwarg_only})


def axes(dims: Any, rank: int) -> list[int]:
    """The axes that an argument names, from the front; all of them where it names none, none of a lone number."""
    given = [dims] if isinstance(dims, int) else list(dims or range(rank))
    return [dim % rank for dim in given] if rank else []


def narrowed(x: Number, dim: int, start: int, length: int) -> Number:
    """Some entries of one dimension."""
    return x.moved(lambda v: v.narrow(dim, start, length))


def joined(numbers: list[Number], dim: int) -> Number:
    """One after the other along a dimension."""
    digits, exponent = aligned(numbers)
    error = None
    if any(x.error is not None for x in numbers):
        zeros = [torch.zeros(x.shape, dtype=torch.float64) if x.error is None else x.error for x in numbers]
        error = torch.cat(zeros, dim)
    return Number(torch.cat(digits, dim + 1), exponent, error)


def error_of(x: Number) -> Tensor:
    """The error as a tensor, zeros where the number is exact."""
    return torch.zeros(x.shape, dtype=torch.float64) if x.error is None else x.error
