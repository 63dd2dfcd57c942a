"""Scripts that keep their state in buffers, as recurrent policies do: one step is a function of inputs and state.

Such a script is no function of its inputs and is refused as it is. Whoever gives shapes for the buffers as well, by
name, asks for the step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution
from torch.utils import _pytree as pytree

from ..artifact import dtypes
from ..artifact.captured import InputShapes, TensorSpec
from ..errors import InvalidInputs, StatefulModel
from . import inputs

Callee = Callable[..., Any]


def asked_for(module: torch.jit.ScriptModule, shapes: InputShapes | None) -> list[str]:
    """The buffers that shapes are given for; InvalidInputs where one has another shape or is no real number."""
    buffers = dict(module.named_buffers())
    given = {name: shape for name, shape in shapes.items() if name in buffers} if isinstance(shapes, dict) else {}
    for name, shape in given.items():
        if list(buffers[name].shape) != shape or not buffers[name].is_floating_point():
            raise InvalidInputs(f"Buffer '{name}' holds {list(buffers[name].shape)} {buffers[name].dtype} numbers.")
    return list(given)


def require_asked(
    module: torch.jit.ScriptModule, callee: Callee, concrete: Sequence[TensorSpec], asked: Sequence[str]
) -> None:
    """StatefulModel where a call changes other buffers, with the request that makes a function of them."""
    changed = overwritten(module, callee, concrete)
    if set(changed) <= set(asked):
        return
    shapes = {spec.name: list(spec.shape) for spec in (*concrete, *specs(module, changed))}
    raise StatefulModel(
        f"The model keeps state between calls, in {', '.join(changed)}: it is not a function of its inputs. One step "
        f"is a function of inputs and state: give inputs={json.dumps(shapes)}."
    )


def overwritten(module: torch.jit.ScriptModule, callee: Callee, concrete: Sequence[TensorSpec]) -> list[str]:
    """Names of the buffers that one call changes; none where one is no real number, or the script does not run."""
    buffers = dict(module.named_buffers())
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    try:
        with torch.no_grad(), optimized_execution(False):
            callee(*next(inputs.samples(concrete, seed=0, count=1)))
    except Exception:  # which is reported when the script is run for good
        return []
    now = dict(module.named_buffers())
    changed = [name for name, value in before.items() if not torch.equal(now[name], value)]
    for name in changed:
        with torch.no_grad():
            now[name].copy_(before[name])
    return changed if all(before[name].is_floating_point() for name in changed) else []


def specs(module: torch.jit.ScriptModule, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """These buffers as inputs."""
    buffers = dict(module.named_buffers())
    return tuple(TensorSpec(name, dtypes.from_torch(buffers[name].dtype), tuple(buffers[name].shape)) for name in names)


def one_step(module: torch.jit.ScriptModule, callee: Callee, names: Sequence[str]) -> Callee:
    """The callee as a function of its inputs and its state, which gives its outputs and the next state.

    The buffers are what they were after every call.
    """
    modules = dict(module.named_modules())
    places = [(modules[owner], leaf) for owner, _, leaf in (name.rpartition(".") for name in names)]

    def call(*tensors: Tensor) -> tuple[Any, ...]:
        kept = [getattr(owner, leaf) for owner, leaf in places]
        given, state = tensors[: -len(names)], tensors[-len(names) :]
        try:
            _put(places, state)
            results = pytree.tree_leaves(callee(*given))
            return (*results, *(getattr(owner, leaf) for owner, leaf in places))
        finally:
            _put(places, kept)

    return call


def _put(places: Sequence[tuple[Any, str]], tensors: Sequence[Tensor]) -> None:
    for (owner, leaf), tensor in zip(places, tensors, strict=True):
        setattr(owner, leaf, tensor)
