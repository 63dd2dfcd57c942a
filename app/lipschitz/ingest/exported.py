"""torch.export archives (.pt2), loaded from memory."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils import _pytree as pytree

from app.lipschitz.artifact import dtypes
from app.lipschitz.artifact.captured import InputShapes, Inspection, TensorSpec
from app.lipschitz.artifact.graphs import short_name
from app.lipschitz.errors import InvalidModel, UnsupportedOperator
from app.lipschitz.ingest import inputs, torch_module
from app.lipschitz.ingest.messages import first_line
from app.lipschitz.ingest.program import Program


def _load(data: bytes) -> ExportedProgram:
    try:
        return torch.export.load(io.BytesIO(data))
    except Exception as error:  # the loader raises whatever its JSON, zip and pickle readers raise
        raise InvalidModel(f"The torch.export archive cannot be loaded: {first_line(error)}") from error


def inspect(data: bytes) -> Inspection:
    """What the exported graph declares."""
    return _describe(_load(data))


def load(data: bytes, shapes: InputShapes | None) -> Program:
    """The exported program as a module on tensors, inputs that are not tensors fixed as exported."""
    exported = _load(data)
    inspection = _describe(exported)
    if inspection.unsupported:
        raise UnsupportedOperator(f"Operator {inspection.unsupported[0]} is not supported.")
    inputs.require_floating(inspection.inputs)
    values = _user_inputs(exported)
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    concrete = inputs.concrete(inspection.inputs, [_symbols(value) for value in tensors.values()], shapes)
    module = exported.module()

    def callee(*given: Tensor) -> Any:
        by_name = dict(zip(tensors, given, strict=True))
        flat = [by_name.get(name, value) for name, value in values.items()]
        args, kwargs = pytree.tree_unflatten(flat, exported.call_spec.in_spec)
        return module(*args, **kwargs)

    return torch_module.program(module, callee, inspection, concrete)


def _describe(exported: ExportedProgram) -> Inspection:
    calls = [node for node in exported.graph.nodes if node.op == "call_function"]
    foreign = {str(node.target) for node in calls if _is_foreign(node)}
    module = exported.state_dict.values()
    return Inspection(
        "torch_export",
        tuple(_spec(name, value) for name, value in _user_inputs(exported).items() if isinstance(value, Tensor)),
        tuple(_spec(node.name, node.meta["val"]) for node in _user_outputs(exported)),
        sum(tensor.numel() for tensor in module if isinstance(tensor, torch.nn.Parameter)),
        dict(Counter(short_name(node) for node in calls)),
        tuple(sorted(foreign)),
    )


def _is_foreign(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in (
        "aten",
        "prim",
        "prims",
    )


def _user_inputs(exported: ExportedProgram) -> dict[str, Any]:
    """Name -> fake tensor, or the constant that the export fixed."""
    nodes = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    return {
        spec.arg.name: nodes[spec.arg.name].meta.get("val")
        for spec in exported.graph_signature.input_specs
        if spec.kind.name == "USER_INPUT"
    }


def _user_outputs(exported: ExportedProgram) -> list[Node]:
    nodes = {node.name: node for node in exported.graph.nodes}
    names = [spec.arg.name for spec in exported.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"]
    return [nodes[name] for name in names if name in nodes and isinstance(nodes[name].meta.get("val"), Tensor)]


def _spec(name: str, value: Tensor) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(name, dtypes.from_torch(value.dtype), shape)


def _symbols(value: Tensor) -> Sequence[str]:
    return ["" if isinstance(size, int) else str(size) for size in value.shape]
