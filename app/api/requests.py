"""Requests read by hand: a JSON value or query parameters become one of the contract's types."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.api import problems

MAX_REQUEST_BYTES = 8 * 2**20

Fields = TypeVar("Fields", bound=BaseModel)


def parse_fields(kind: type[Fields], data: Any, *, is_text: bool = False) -> Fields:
    """The request in a JSON value, or in text for every plain field; InvalidRequest points at what is wrong."""
    try:
        return kind.model_validate(data, strict=not is_text)
    except ValidationError as error:
        raise problems.invalid(error.errors(include_url=False, include_input=False), data) from error
