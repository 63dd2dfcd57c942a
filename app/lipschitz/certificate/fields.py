"""Values out of a file that may come from anyone: each is what it should be, or is refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

LONGEST_TEXT = 10_000
MOST_NUMBERS = 2**26


class InvalidCertificate(Exception):
    """The certificate proves nothing; the message says why."""


def mapping(found: Any, name: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(found, dict):
        raise InvalidCertificate(f"{name} must be an object, not {_shown(found)}")
    return found


def entries(found: Any, name: str, most: int = MOST_NUMBERS) -> list[Any]:
    """A list of at most `most` entries."""
    if not isinstance(found, list) or len(found) > most:
        raise InvalidCertificate(f"{name} must be a list of at most {most} entries")
    return found


def text(found: Any, name: str) -> str:
    """A string."""
    if not isinstance(found, str) or len(found) > LONGEST_TEXT:
        raise InvalidCertificate(f"{name} must be a text, not {_shown(found)}")
    return found


def choice(found: Any, known: Sequence[str], name: str) -> str:
    """One of some strings."""
    if found not in known:
        raise InvalidCertificate(f"{name} must be one of {', '.join(known)}, not {_shown(found)}")
    return str(found)


def integer(found: Any, name: str) -> int:
    """An integer that is not negative."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**48:
        raise InvalidCertificate(f"{name} must be a non-negative integer, not {_shown(found)}")
    return found


def number(found: Any, name: str, least: float = 0.0) -> float:
    """A finite number, at least `least`."""
    if isinstance(found, float | int) and not isinstance(found, bool) and abs(found) < 2**1024:
        value = float(found)
        if math.isfinite(value) and value >= least:
            return value
    raise InvalidCertificate(f"{name} must be a finite number of at least {least}, not {_shown(found)}")


def numbers(found: Any, name: str, least: float) -> list[float]:
    """A list of them."""
    return [number(one, f"{name}[{i}]", least) for i, one in enumerate(entries(found, name))]


def function(found: Any) -> dict[str, Any]:
    """The request's fields that select the function: shapes, input, output, norm, domain, target."""
    found = mapping(found, "function")
    for key in ("input", "output"):
        if found.get(key) is not None:
            text(found[key], f"function.{key}")
    choice(found.get("norm"), ("1", "2", "inf"), "function.norm")
    _shapes(found.get("inputs"))
    _simple(mapping(found.get("domain"), "function.domain"), "function.domain")
    _simple(mapping(found.get("target"), "function.target"), "function.target")
    return {key: found.get(key) for key in ("inputs", "input", "output", "norm", "domain", "target")}


def _shapes(found: Any) -> None:
    """Lists of integers, by name or by position, that a machine can hold."""
    shapes = found.values() if isinstance(found, dict) else entries([] if found is None else found, "function.inputs")
    for shape in shapes:
        sides = [integer(side, "function.inputs[]") for side in entries(shape, "function.inputs[]", 16)]
        if math.prod(sides) > MOST_NUMBERS:
            raise InvalidCertificate(f"an input of shape {sides} is too large")


def _simple(found: dict[str, Any], name: str) -> None:
    """Texts, numbers and flat lists of numbers."""
    for key, value in found.items():
        if isinstance(value, list):
            numbers(value, f"{name}.{key}", -math.inf)
        elif not isinstance(value, str):
            number(value, f"{name}.{key}", -math.inf)


def _shown(found: Any) -> str:
    return f"{type(found).__name__} {str(found)[:60]}" if isinstance(found, str | int | float) else type(found).__name__
