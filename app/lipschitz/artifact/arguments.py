"""Arguments of operators as JSON, and back, each checked against the operator's schema.

    node                {"node": 3}, its place in the graph     None, bool, int, str    themselves
    float               {"float": "0.1"}, "inf", "nan"          list, tuple             list
    torch.float64, ...  {"dtype": "FP64"}                       memory formats          {"memory_format": their name}
    torch.strided       {"layout": "strided"}                   a device                {"device": "cpu"}

Devices are not part of the function: whichever it was, it is read as the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from ..errors import InvalidArtifact
from . import dtypes

MAX_STRING = 64
"""Characters of a string argument; the longest that ATen knows are names of modes."""
MAX_FLOAT = 32
"""Characters of a float."""

_FORMATS = {
    str(value).removeprefix("torch."): value
    for value in (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
}


class NotEncodable(Exception):
    """A literal that no operator with a rule takes."""


def encode(value: Any, position: Mapping[Node, int]) -> Any:
    """A literal or a node of the graph as JSON; NotEncodable for complex numbers, generators and the like."""
    if isinstance(value, Node):
        return {"node": position[value]}
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, list | tuple):
        return [encode(item, position) for item in value]
    if isinstance(value, torch.dtype) and dtypes.from_torch(value) != dtypes.UNKNOWN:
        return {"dtype": dtypes.from_torch(value)}
    if isinstance(value, torch.memory_format):
        return {"memory_format": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": "cpu"}
    if value is torch.strided:
        return {"layout": "strided"}
    raise NotEncodable(f"{value!r} has no place in a graph")


def decode(value: Any, nodes: Sequence[Any]) -> Any:
    """The reverse; `nodes` are the earlier nodes. Raises InvalidArtifact."""
    if isinstance(value, list):
        return [decode(item, nodes) for item in value]
    if isinstance(value, str) and len(value) > MAX_STRING:
        raise InvalidArtifact("A string argument is too long.")
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise InvalidArtifact("An argument has several types.")
    ((kind, content),) = value.items()
    if kind not in _DECODERS:
        raise InvalidArtifact("An argument is of an unknown type.")
    return _DECODERS[kind](content, nodes)


def _node(content: Any, nodes: Sequence[Any]) -> Any:
    if type(content) is not int or not 0 <= content < len(nodes):
        raise InvalidArtifact("A node reads one that does not come before it.")
    return nodes[content]


def _float(content: Any, _nodes: Sequence[Any]) -> float:
    if not isinstance(content, str) or len(content) > MAX_FLOAT:
        raise InvalidArtifact("A number is not one.")
    try:
        return float(content)
    except ValueError as error:
        raise InvalidArtifact("A number is not one.") from error


def _dtype(content: Any, _nodes: Sequence[Any]) -> torch.dtype:
    try:
        return dtypes.to_torch(content)
    except (KeyError, TypeError) as error:
        raise InvalidArtifact("An element type is unknown.") from error


def _one_of(table: Mapping[str, Any]) -> Callable[[Any, Sequence[Any]], Any]:
    def look_up(content: Any, _nodes: Sequence[Any]) -> Any:
        if not isinstance(content, str) or content not in table:
            raise InvalidArtifact("An argument names nothing known.")
        return table[content]

    return look_up


_DECODERS: dict[str, Callable[[Any, Sequence[Any]], Any]] = {
    "node": _node,
    "float": _float,
    "dtype": _dtype,
    "memory_format": _one_of(_FORMATS),
    "layout": _one_of({"strided": torch.strided}),
    "device": _one_of({"cpu": torch.device("cpu")}),
}


def check_call(target: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise InvalidArtifact unless every argument is one that the operator's schema asks for."""
    positional = [argument for argument in target._schema.arguments if not argument.kwarg_only]
    by_name = {argument.name: argument for argument in target._schema.arguments}
    if len(args) > len(positional):
        raise InvalidArtifact(f"{target} is given too many arguments.")
    given = {argument.name: value for argument, value in zip(positional, args, strict=False)}
    if any(name in given or name not in by_name for name in kwargs):
        raise InvalidArtifact(f"{target} is given an argument twice, or one that it does not have.")
    given |= kwargs
    for name, argument in by_name.items():
        if name not in given:
            if not argument.has_default_value():
                raise InvalidArtifact(f"{target} lacks its argument {name}.")
        elif not _suits(given[name], argument):
            raise InvalidArtifact(f"{target} is given an argument {name} of another type.")


def _suits(value: Any, argument: Any) -> bool:
    """A list of fixed length may be given as one number for all."""
    return _fits(value, argument.real_type) or (argument.N is not None and _fits([value], argument.real_type))


def _fits(value: Any, kind: Any) -> bool:
    name = kind.kind()
    if name == "OptionalType":
        return value is None or _fits(value, kind.getElementType())
    if name == "ListType":
        return isinstance(value, list) and all(_fits(item, kind.getElementType()) for item in value)
    return name in _ACCEPTED and _ACCEPTED[name](value)


def _is_integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | float) or _is_integer(value)


_ACCEPTED: dict[str, Callable[[Any], bool]] = {
    "TensorType": lambda value: isinstance(value, Node) or _is_number(value),
    "IntType": _is_integer,
    "SymIntType": _is_integer,
    "FloatType": lambda value: isinstance(value, float) or _is_integer(value),
    "NumberType": _is_number,
    "BoolType": lambda value: isinstance(value, bool),
    "StringType": lambda value: isinstance(value, str),
    "ScalarTypeType": lambda value: isinstance(value, torch.dtype),
    "LayoutType": lambda value: value is torch.strided,
    "MemoryFormatType": lambda value: isinstance(value, torch.memory_format),
    "DeviceObjType": lambda value: isinstance(value, torch.device),
}
