"""The shapes of a script's inputs, which it does not store: found, or asked for with what its first layer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..artifact.captured import TensorSpec
from ..errors import InvalidInputs
from .shape_search import only_shapes

AXES = {3: ["L"], 4: ["H", "W"], 5: ["D", "H", "W"]}
GROUPS_ARGUMENT = {"aten::conv1d": 6, "aten::conv2d": 6, "aten::conv3d": 6, "aten::_convolution": 8}
PRODUCT_WEIGHT = {"aten::linear": 1, "aten::matmul": 1, "aten::mm": 1, "aten::addmm": 2}


def found_shapes(
    module: torch.jit.ScriptModule, callee: Callable[..., Any], inputs: Sequence[TensorSpec]
) -> tuple[list[list[int]], str]:
    """The only shapes that the script runs on, and the warning that says so; InvalidInputs where they are not found.

    `callee` is the script as a function of tensors.
    """
    names = [spec.name for spec in inputs]
    proposal = next(_proposals(module, module.inlined_graph), None) if len(names) == 1 else None
    only = only_shapes(module, callee, inputs, proposal)
    if only is None:
        raise _missing_shapes(names, proposal)
    shapes, why = only
    return shapes, f"TorchScript stores no input shapes: analysed with inputs={shapes}, {why}."


def _missing_shapes(names: Sequence[str], proposal: list[str] | None) -> InvalidInputs:
    listed = ", ".join(repr(name) for name in names)
    if proposal is None:
        return InvalidInputs(f"TorchScript stores no input shapes: give inputs, one shape each for {listed}.")
    return InvalidInputs(f"TorchScript stores no input shapes: give inputs=[[{', '.join(proposal)}]] for {listed}.")


def _proposals(module: torch.jit.ScriptModule, graph: torch._C.Graph) -> Iterator[list[str]]:
    for node in graph.nodes():
        arguments = list(node.inputs())
        if node.kind() in PRODUCT_WEIGHT:
            weight = _stored(module, arguments[PRODUCT_WEIGHT[node.kind()]])
            if weight is not None and weight.ndim == 2:
                yield ["1", str(weight.shape[1 if node.kind() == "aten::linear" else 0])]
        elif node.kind() in GROUPS_ARGUMENT:
            weight = _stored(module, arguments[1])
            groups = arguments[GROUPS_ARGUMENT[node.kind()]].toIValue()
            if weight is not None and weight.ndim in AXES and isinstance(groups, int):
                yield ["1", str(weight.shape[1] * groups), *AXES[weight.ndim]]


def _stored(module: torch.jit.ScriptModule, value: torch._C.Value) -> Tensor | None:
    """The tensor that a graph value stands for, if it is stored in the module (possibly transposed)."""
    value_ = resolve(module, value)
    return value_ if isinstance(value_, Tensor) else None


def resolve(module: torch.jit.ScriptModule, value: torch._C.Value) -> Any:
    """What a value always is: the module, an attribute, a constant, or a stored matrix transposed; None otherwise."""
    node = value.node()
    if node.kind() == "prim::Param":
        return module._c if value.type().kind() == "ClassType" else None
    if node.kind() == "prim::GetAttr":
        owner = resolve(module, node.inputsAt(0))  # in C++, where no attribute of Python's classes hides another
        return owner.getattr(node.s("name")) if hasattr(owner, "getattr") else None
    if node.kind() == "prim::Constant":
        return value.toIValue()
    if node.kind() == "aten::t":
        weight = resolve(module, node.inputsAt(0))
        return weight.t() if isinstance(weight, Tensor) else None
    return None
