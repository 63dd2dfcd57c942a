"""From what a caller sends to the contract's types, with pointers to the fields at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .refusals import InvalidRequest

Fields = TypeVar("Fields", bound=BaseModel)


def parse_fields(kind: type[Fields], data: object, *, is_text: bool = False) -> Fields:
    """The request in a JSON value, or in text for every plain field; InvalidRequest points at what is wrong."""
    try:
        return kind.model_validate(data, strict=not is_text)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False), data) from error


def invalid(errors: Sequence[Mapping[str, Any]], data: Any) -> InvalidRequest:
    """The problem for pydantic's errors on `data`; pointers lead to the fields at fault (RFC 6901)."""
    faults = [{"detail": _message(error), "pointer": _pointer(error, data)} for error in errors]
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidRequest(f"{first['pointer']}: {first['detail']}{more}", errors=faults)


def _message(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def _pointer(error: Mapping[str, Any], data: Any) -> str:
    """The error's location without pydantic's names for members of unions, which are not in the data."""
    pointer = "#"
    for index, step in enumerate(error["loc"]):
        is_missing = error["type"] == "missing" and index == len(error["loc"]) - 1
        if isinstance(data, dict) and (step in data or is_missing):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            continue
        pointer += "/" + str(step).replace("~", "~0").replace("/", "~1")
    return pointer
