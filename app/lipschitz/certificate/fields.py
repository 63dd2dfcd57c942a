"""Values out of a file that may come from anyone: each is what it should be, or is refused by name."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from ...contract.plain import Json

LONGEST_TEXT = 10_000
MOST_NUMBERS = 2**26


class InvalidCertificate(Exception):
    """The certificate proves nothing; the message says why."""


def mapping(given: Any, name: str, known: Collection[str]) -> Json:
    """An object without fields that nothing here reads: they might be taken to mean something."""
    if not isinstance(given, dict):
        raise InvalidCertificate(f"{name} must be an object, not {shown(given)}")
    foreign = [key for key in given if key not in known]
    if foreign:
        raise InvalidCertificate(f"{name} has a field {shown(foreign[0])} that is not known")
    return dict(given)


def whole(value: Any, name: str, needed: Collection[str]) -> Json:
    """An object with just these fields."""
    given = mapping(value, name, needed)
    missing = next((key for key in needed if key not in given), None)
    if missing is not None:
        raise InvalidCertificate(f"{name}.{missing} is missing")
    return given


def entries(given: Any, name: str, most: int = MOST_NUMBERS) -> list[Any]:
    """A list of at most `most` entries."""
    if not isinstance(given, list) or len(given) > most:
        raise InvalidCertificate(f"{name} must be a list of at most {most} entries")
    return given


def text(given: Any, name: str) -> str:
    """A string of Unicode characters, which any encoder can write."""
    if not isinstance(given, str) or len(given) > LONGEST_TEXT or any("\ud800" <= c <= "\udfff" for c in given):
        raise InvalidCertificate(f"{name} must be a text, not {shown(given)}")
    return given


def choice(given: Any, known: Sequence[str], name: str) -> str:
    """One of some strings."""
    if not isinstance(given, str) or given not in known:
        raise InvalidCertificate(f"{name} must be one of {', '.join(known)}, not {shown(given)}")
    return given


def integer(given: Any, name: str) -> int:
    """An integer that is not negative."""
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 2**48:
        raise InvalidCertificate(f"{name} must be a non-negative integer, not {shown(given)}")
    return given


def number(given: Any, name: str, least: float = 0.0) -> float:
    """A finite number, at least `least`; an integer counts where it is a double."""
    if isinstance(given, float | int) and not isinstance(given, bool):
        value = given if isinstance(given, float) else _double(given)
        if math.isfinite(value) and value >= least:
            return value
    raise InvalidCertificate(f"{name} must be a finite number of at least {least}, not {shown(given)}")


def _double(given: int) -> float:
    """The integer as it stands, never rounded: what is checked must be what is claimed; NaN for any other."""
    if given.bit_length() > 1024:
        return math.nan
    try:
        value = float(given)
    except OverflowError:
        return math.nan
    return value if value == given else math.nan


def numbers(given: Any, name: str, least: float = -math.inf) -> list[float]:
    """A list of them."""
    return [number(one, f"{name}[{i}]", least) for i, one in enumerate(entries(given, name))]


def shown(given: Any) -> str:
    """The beginning of a value, in ASCII."""
    if isinstance(given, int) and given.bit_length() > 64:
        return "a huge integer"
    plain = isinstance(given, str | int | float)
    return f"{type(given).__name__} {ascii(given)[:60]}" if plain else type(given).__name__
