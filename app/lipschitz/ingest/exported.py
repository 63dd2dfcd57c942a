"""torch.export archives (.pt2): their graph, read as data (`export_archive`), as a function of its tensor inputs."""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..artifact import dtypes
from ..artifact.captured import InputShapes, Inspection, TensorSpec
from ..errors import InvalidInputs, InvalidModel, StatefulModel, UnsupportedOperator
from . import export_archive, inputs, torch_module
from .export_archive import DTYPES, Archive
from .exported_calls import Values, run
from .fused_attention import FOR_A_DEVICE
from .program import Program
from .visible import is_dispatched, is_visible

ON_SIZES: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "abs", "eq", "ne", "lt", "le",
                     "gt", "ge", "and_", "or_", "not_", "getitem")
    },
    "math.ceil": math.ceil, "math.floor": math.floor, "math.trunc": math.trunc,
    "torch.sym_float": float, "torch.sym_int": int, "torch.sym_max": max, "torch.sym_min": min,
    "torch.sym_not": operator.not_,
}  # fmt: skip
"""What a program may compute sizes with."""

SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)|(\w+)")
UNTRACED = {"aten.detach_.default": "aten.detach.default"}
"""Operators that change how a tensor is differentiated, and what takes their place."""

VIEW = torch.ops.aten.view.default

T = TypeVar("T")


def inspect(data: bytes) -> Inspection:
    """What the exported graph declares."""
    return _checked(lambda: _describe(export_archive.read(data)))


def load(data: bytes, shapes: InputShapes | None) -> Program:
    """The exported program on tensors, inputs that are not tensors fixed as exported."""
    return _checked(lambda: _load(export_archive.read(data), shapes))


def _checked(reading: Callable[[], T]) -> T:
    try:
        return reading()
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise InvalidModel(f"The torch.export archive's graph is damaged ({type(error).__name__}).") from error


def _load(archive: Archive, shapes: InputShapes | None) -> Program:
    inspection = _describe(archive)
    if inspection.unsupported:
        raise UnsupportedOperator(f"Operator {inspection.unsupported[0]} is not supported.")
    _refuse_mutation(archive)
    inputs.require_floating(inspection.inputs)
    symbols = [[_symbol(size) for size in _meta(archive, name)["sizes"]] for name in _user_inputs(archive)]
    concrete = inputs.concrete(inspection.inputs, symbols, shapes)
    _check_ranges(archive, symbols, concrete)
    return torch_module.program(archive.parameters, archive.others, _function(archive), inspection, concrete)


def _describe(archive: Archive) -> Inspection:
    graph = _graph(archive)
    targets = [_target(node) for node in graph["nodes"]]
    return Inspection(
        "torch_export",
        tuple(_spec(archive, name) for name in _user_inputs(archive)),
        tuple(_spec(archive, name) for name in _user_outputs(archive)),
        sum(tensor.numel() for tensor in archive.parameters.values()),
        dict(Counter(target.split(".")[1] if "." in target else target for target in targets)),
        tuple(sorted({target for target in targets if _function_of(target) is None})),
    )


def _graph(archive: Archive) -> Mapping[str, Any]:
    graph: Mapping[str, Any] = archive.program["graph_module"]["graph"]
    return graph


def _signature(archive: Archive, key: str) -> list[Mapping[str, Any]]:
    specs: list[Mapping[str, Any]] = archive.program["graph_module"]["signature"][key]
    return specs


def _user_inputs(archive: Archive) -> list[str]:
    """Names of the tensor inputs; other inputs were fixed by the export, unless they are open numbers."""
    given = [spec["user_input"]["arg"] for spec in _signature(archive, "input_specs") if "user_input" in spec]
    if any(kind.startswith("as_sym") for arg in given for kind in arg):
        raise UnsupportedOperator("The exported program takes a number as an input: fix it when exporting.")
    return [arg["as_tensor"]["name"] for arg in given if "as_tensor" in arg]


def _user_outputs(archive: Archive) -> list[str]:
    given = [spec["user_output"]["arg"] for spec in _signature(archive, "output_specs") if "user_output" in spec]
    return [arg["as_tensor"]["name"] for arg in given if "as_tensor" in arg]


def _refuse_mutation(archive: Archive) -> None:
    kinds = {kind for spec in _signature(archive, "output_specs") for kind in spec}
    if kinds - {"user_output"}:
        raise StatefulModel(f"The exported program does more than to compute its outputs ({', '.join(sorted(kinds))}).")


def _meta(archive: Archive, name: str) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = _graph(archive)["tensor_values"][name]
    return meta


def _spec(archive: Archive, name: str) -> TensorSpec:
    meta = _meta(archive, name)
    dtype = DTYPES.get(meta["dtype"])
    shape = tuple(size.get("as_int", -1) for size in meta["sizes"])
    return TensorSpec(name, dtypes.UNKNOWN if dtype is None else dtypes.from_torch(dtype), shape)


def _symbol(size: Mapping[str, Any]) -> str:
    """The name of an open size; '' where it is fixed, or a formula of others."""
    named = SYMBOL.fullmatch("" if "as_int" in size else str(size["as_expr"]["expr_str"]))
    return "" if named is None else named[1] or named[2]


def _check_ranges(archive: Archive, symbols: Sequence[Sequence[str]], concrete: Sequence[TensorSpec]) -> None:
    """One size a symbol, within the range that the export found the program right for."""
    ranges = archive.program["range_constraints"]
    sizes: dict[str, int] = {}
    for names, spec in zip(symbols, concrete, strict=True):
        for name, size in zip(names, spec.shape, strict=True):
            if name and sizes.setdefault(name, size) != size:
                raise InvalidInputs(f"'{spec.name}' is given {size} for {name}, which is {sizes[name]} elsewhere.")
            limits = ranges.get(name) or {}
            least, most = limits.get("min_val"), limits.get("max_val")
            if (least is not None and size < least) or (most is not None and size > most):
                raise InvalidInputs(f"'{spec.name}' is given {size} for {name}, exported for {least} to {most}.")


def _target(node: Mapping[str, Any]) -> str:
    """The operator's name, such as aten.linear.default."""
    target = str(node["target"]).removeprefix("torch.ops.")
    return UNTRACED.get(target, target)


def _function_of(target: str) -> Callable[..., Any] | None:
    """The operator of that name if a program may call it: found in a table or among ATen's visible ones."""
    if target in ON_SIZES or target in FOR_A_DEVICE:
        return ON_SIZES.get(target) or FOR_A_DEVICE[target]
    parts = target.split(".")
    if len(parts) != 3 or parts[0] != "aten":
        return None
    name, overload = parts[1], "" if parts[2] == "default" else parts[2]
    if not is_dispatched(f"aten::{name}" + (f".{overload}" if overload else "")):
        return None
    operator: torch._ops.OpOverload = getattr(getattr(torch.ops.aten, name), parts[2])
    return operator if is_visible(name, overload, operator._schema) else None


def _function(archive: Archive) -> Callable[..., Sequence[Tensor]]:
    """The graph, evaluated node by node."""
    graph, stored = _graph(archive), _stored(archive)
    names, ends = _user_inputs(archive), _user_outputs(archive)
    steps = [(_function_of(_target(node)), node) for node in graph["nodes"]]
    if not any(_overwrites(call) for call, _ in steps):
        steps = [(_reshaped if call is VIEW else call, node) for call, node in steps]

    def function(*tensors: Tensor) -> Sequence[Tensor]:
        values: Values = {**stored, **dict(zip(names, tensors, strict=True))}
        for call, node in steps:
            assert call is not None, "an operator that was refused"
            run(call, node, values)
        return [values[name] for name in ends]

    return function


def _reshaped(x: Tensor, size: Sequence[int]) -> Tensor:
    """A view of whatever layout: the exporter's kernels may lay their results out as those that we trace do not."""
    return x.reshape(tuple(size))


def _overwrites(call: Callable[..., Any] | None) -> bool:
    """Then a view is not a copy."""
    return isinstance(call, torch._ops.OpOverload) and call._schema.is_mutable


def _stored(archive: Archive) -> Values:
    """Stored tensors by their names in the graph."""
    tensors, values = archive.parameters | archive.others, {}
    for spec in _signature(archive, "input_specs"):
        ((kind, content),) = spec.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            values[content["arg"]["name"]] = tensors[content[f"{kind}_name"]]
        elif kind not in ("user_input", "constant_input"):
            raise UnsupportedOperator(f"The exported program takes a {kind}, which is no tensor.")
    return values
