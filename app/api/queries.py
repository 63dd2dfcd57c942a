"""An analysis asked for in query parameters: the fields of the JSON body, spelled for a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.plain import Json
from ..errors import MalformedJson
from ..refusals import InvalidRequest
from .problems import parse_json

JSON_FIELDS = frozenset({"inputs", "domain", "target", "options", "gate", "metadata"})
NOT_FIELDS = frozenset({"name", "version"})


def fields_of(query: Mapping[str, str]) -> Json:
    """`methods=a,b` is a list, fields with structure are JSON, the rest is text that the schema converts."""
    return {name: _value(name, text) for name, text in query.items() if name not in NOT_FIELDS}


def _value(name: str, text: str) -> Any:
    if name == "methods" and text != "auto":
        return [method.strip() for method in text.split(",")]
    if name in JSON_FIELDS:
        return _json(name, text)
    return text


def _json(name: str, text: str) -> Any:
    try:
        return parse_json(text.encode())
    except MalformedJson as error:
        fault = {"detail": "the value is not JSON", "pointer": f"#/{name}"}
        raise InvalidRequest(f"#/{name}: the value is not JSON.", errors=[fault]) from error
