"""What TorchScript and torch.export have in common: a torch module that is called, and may keep state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._fuser import optimized_execution
from torch.utils import _pytree as pytree

from ..artifact import dtypes
from ..artifact.captured import Inspection, TensorSpec
from ..errors import InvalidInputs, InvalidModel, StatefulModel, UnsupportedOperator
from . import inputs
from .messages import last_line
from .program import Function, Program

Callee = Callable[..., Any]


def parameters(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def floating_type(module: nn.Module) -> torch.dtype:
    """The precision of the first floating-point parameter or buffer; float32 where there is none."""
    stored = (tensor for group in (module.parameters(), module.buffers()) for tensor in group)
    return next((tensor.dtype for tensor in stored if tensor.is_floating_point()), torch.float32)


def program(
    parameters: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    callee: Callee,
    inspection: Inspection,
    concrete: tuple[TensorSpec, ...],
) -> Program:
    """The callee as a program: run twice on one input to find hidden state, and to count its outputs.

    `parameters` and `others` are the stored tensors by name; the former must be finite, the latter must not change.
    """
    _require_finite(parameters)
    function = _flat(callee)
    original = _original(function)
    count = len(_run_twice(others, original, next(inputs.samples(concrete, seed=0, count=1))))
    names = tuple(spec.name for spec in inspection.outputs)
    if len(names) != count:
        names = ("output",) if count == 1 else tuple(f"output_{position}" for position in range(count))
    stored = {id(tensor): name for name, tensor in [*parameters.items(), *others.items()]}
    return Program(inspection, concrete, names, function, original, stored, differentiable=True)


def constant_names(module: nn.Module) -> dict[int, str]:
    """Qualified names of parameters and buffers by `id`."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {id(tensor): name for name, tensor in named}


def _flat(callee: Callee) -> Function:
    """The tensors in the callee's result, whatever nests them. It is given copies, as it may overwrite, and
    is not optimised: compiling a script on its second run would cost more than running it."""

    def function(*tensors: Tensor) -> Sequence[Tensor]:
        with optimized_execution(False):
            result = callee(*(x.clone() for x in tensors))
        return tuple(leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor))

    return function


def _original(function: Function) -> Function:
    """The function as it is traced: gradients on, and inputs that ask for them."""

    def original(*tensors: Tensor) -> Sequence[Tensor]:
        with torch.enable_grad():
            return [y.detach() for y in function(*(x.detach().requires_grad_() for x in tensors))]

    return original


def _require_finite(parameters: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter).all()):
            raise InvalidModel(f"Parameter '{name}' holds NaN or infinite values.")


def _run_twice(others: Mapping[str, Tensor], function: Function, example: Sequence[Tensor]) -> Sequence[Tensor]:
    before = [tensor.clone() for tensor in others.values()]
    try:
        first, second = function(*example), function(*example)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError) as error:
        raise _not_runnable(example, error) from error
    if not all_same(first, second) or not all_same(before, list(others.values())):
        raise StatefulModel("Two calls with one input differ, or change the model's buffers: it keeps state.")
    if not first:
        raise UnsupportedOperator("The model returns no tensor.")
    return first


def _not_runnable(example: Sequence[Tensor], error: Exception) -> InvalidInputs | UnsupportedOperator:
    reason = last_line(error)
    if "Long" in str(error) and "indices" in str(error):
        return UnsupportedOperator(f"The model expects integer inputs, which have no derivative: {reason}")
    shapes = [list(x.shape) for x in example]
    return InvalidInputs(f"The model cannot be run on {dtypes.from_torch(example[0].dtype)} inputs {shapes}: {reason}")


def all_same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Equal to the bit, NaN to NaN."""
    return len(first) == len(second) and all(
        a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
        for a, b in zip(first, second, strict=True)
    )
