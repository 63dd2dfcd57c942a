"""Plain values: what a JSON document may hold that databases, pages and callers can all carry."""

from __future__ import annotations

import json
import math
import re
from typing import Any

Json = dict[str, Any]
"""A JSON object where its members are not ours to name: at the edges of processes, files and tables."""

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
MAX_VALUES = 400_000
"""A value of a document takes some hundred bytes in memory, however short it is written."""

UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, which PostgreSQL refuses, and halves of surrogate pairs, which no encoding carries."""


class NotPlain(ValueError):
    """The bytes are no JSON, or hold what not everybody could carry."""


def parse(data: bytes, max_values: int = MAX_VALUES) -> Any:
    """The document in `data`; NotPlain for one of too many values, too deep, or with what not everybody carries."""
    if sum(map(data.count, (b",", b"[", b"{"))) > max_values:
        raise NotPlain(f"it holds more than {max_values} values")
    try:
        document = json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotPlain(f"it is not JSON: {str(error)[:200]}") from error
    _check(document)
    return document


def cleaned(value: Any) -> Any:
    """The same value with a replacement character for each that cannot be carried."""
    match value:
        case str():
            return UNSPEAKABLE.sub("\ufffd", value)
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item) for item in value]
    return value


def _check(document: Any) -> None:
    level, depth = [document], 0
    while level:
        if depth > MAX_DEPTH:
            raise NotPlain(f"it is nested more than {MAX_DEPTH} deep")
        level = [inner for value in level for inner in _inner(value)]
        depth += 1


def _inner(value: Any) -> list[Any]:
    match value:
        case str() if UNSPEAKABLE.search(value):
            raise NotPlain("a text holds NUL or half a surrogate pair")
        case float() if not math.isfinite(value):
            raise NotPlain("a number is not finite")
        case int() if abs(value) > MAX_INTEGER:
            raise NotPlain("an integer takes more than 64 bits")
        case dict():
            return [*value, *value.values()]
        case list():
            return value
    return []


def _refuse(name: str) -> None:
    raise NotPlain(f"{name} is no number of JSON")
