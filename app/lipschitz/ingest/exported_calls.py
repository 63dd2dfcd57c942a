"""One call of an exported graph: its arguments, written as data, and the names of its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..errors import UnsupportedOperator
from .export_archive import element_type

FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
STRIDED = 7
Values = dict[str, Any]


def run(call: Callable[..., Any], node: Mapping[str, Any], values: Values) -> None:
    """Call the node's operator on values of the graph, and keep what it gives among them."""
    args: list[Any] = []
    kwargs: Values = {}
    for given in node["inputs"]:
        value = _argument(given["arg"], values)
        if given.get("kind") == 2 or (given.get("kind") is None and _is_keyword(call, given["name"])):
            kwargs[given["name"]] = value
        else:
            args.append(value)
    _keep(node["outputs"], call(*args, **kwargs), values)


def _is_keyword(call: Callable[..., Any], name: str) -> bool:
    """Older writers do not say."""
    schema = getattr(call, "_schema", None)
    return schema is not None and any(argument.name == name and argument.kwarg_only for argument in schema.arguments)


def _keep(outputs: Sequence[Mapping[str, Any]], result: Any, values: Values) -> None:
    """Results by the names that the graph gives them."""
    results = list(result) if isinstance(result, tuple) else [result]
    if len(outputs) == 1 and isinstance(result, tuple) and "as_tensors" in outputs[0]:
        results = [list(result)]
    for output, value in zip(outputs, results, strict=False):
        ((kind, content),) = output.items()
        if kind == "as_tensors":
            values |= {each["name"]: item for each, item in zip(content, value, strict=True)}
        elif isinstance(content, dict):
            values[str(content.get("name") or content.get("as_name"))] = value


def _argument(given: Mapping[str, Any], values: Values) -> Any:
    ((kind, content),) = given.items()
    if kind not in _ARGUMENTS:
        raise UnsupportedOperator(f"The exported program passes {kind.removeprefix('as_')}, which is not supported.")
    return _ARGUMENTS[kind](content, values)


def _size(content: Mapping[str, Any], values: Values) -> Any:
    return values[content["as_name"]] if "as_name" in content else next(iter(content.values()))


def _tensor(content: Any, values: Values) -> Any:
    return values[content["name"]]


def _optional(content: Mapping[str, Any], values: Values) -> Any:
    return values[content["as_tensor"]["name"]] if "as_tensor" in content else None


def _itself(content: Any, _values: Values) -> Any:
    return content


def _each(function: Callable[[Any, Values], Any]) -> Callable[[Any, Values], list[Any]]:
    return lambda content, values: [function(item, values) for item in content]


_ARGUMENTS: dict[str, Callable[[Any, Values], Any]] = {
    "as_none": lambda _content, _values: None,
    "as_tensor": _tensor,
    "as_tensors": _each(_tensor),
    "as_nested_tensors": _each(_each(_tensor)),
    "as_optional_tensor": _optional,
    "as_optional_tensors": _each(_optional),
    **dict.fromkeys(("as_int", "as_ints", "as_string", "as_strings", "as_bool", "as_bools", "as_int_lists"), _itself),
    "as_float": lambda content, _: float(content),
    "as_floats": _each(lambda content, _: float(content)),
    **dict.fromkeys(("as_sym_int", "as_sym_bool", "as_sym_float"), _size),
    **dict.fromkeys(("as_sym_ints", "as_sym_bools", "as_sym_floats"), _each(_size)),
    "as_scalar_type": lambda content, _: element_type(content),
    "as_memory_format": lambda content, _: FORMATS[content],
    "as_layout": lambda content, _: {STRIDED: torch.strided}[content],
    "as_device": lambda _content, _values: torch.device("cpu"),
}
