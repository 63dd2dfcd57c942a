"""Values out of a file that may come from anyone: each is what it should be, or is refused by name."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from app.contract.plain import Json

LONGEST_TEXT = 10_000
MOST_NUMBERS = 2**26


class InvalidCertificate(Exception):
    """The certificate proves nothing; the message says why."""


def mapping(found: Any, name: str, known: Collection[str]) -> Json:
    """An object without fields that nothing here reads: they might be taken to mean something."""
    if not isinstance(found, dict):
        raise InvalidCertificate(f"{name} must be an object, not {shown(found)}")
    foreign = [key for key in found if key not in known]
    if foreign:
        raise InvalidCertificate(f"{name} has a field {shown(foreign[0])} that is not known")
    return dict(found)


def whole(found: Any, name: str, needed: Collection[str]) -> Json:
    """An object with just these fields."""
    given = mapping(found, name, needed)
    missing = next((key for key in needed if key not in given), None)
    if missing is not None:
        raise InvalidCertificate(f"{name}.{missing} is missing")
    return given


def entries(found: Any, name: str, most: int = MOST_NUMBERS) -> list[Any]:
    """A list of at most `most` entries."""
    if not isinstance(found, list) or len(found) > most:
        raise InvalidCertificate(f"{name} must be a list of at most {most} entries")
    return found


def text(found: Any, name: str) -> str:
    """A string of Unicode characters, which any encoder can write."""
    if not isinstance(found, str) or len(found) > LONGEST_TEXT or any("\ud800" <= c <= "\udfff" for c in found):
        raise InvalidCertificate(f"{name} must be a text, not {shown(found)}")
    return found


def choice(found: Any, known: Sequence[str], name: str) -> str:
    """One of some strings."""
    if not isinstance(found, str) or found not in known:
        raise InvalidCertificate(f"{name} must be one of {', '.join(known)}, not {shown(found)}")
    return found


def integer(found: Any, name: str) -> int:
    """An integer that is not negative."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**48:
        raise InvalidCertificate(f"{name} must be a non-negative integer, not {shown(found)}")
    return found


def number(found: Any, name: str, least: float = 0.0) -> float:
    """A finite number, at least `least`; an integer counts where it is a double."""
    if isinstance(found, float | int) and not isinstance(found, bool):
        value = found if isinstance(found, float) else _double(found)
        if math.isfinite(value) and value >= least:
            return value
    raise InvalidCertificate(f"{name} must be a finite number of at least {least}, not {shown(found)}")


def _double(found: int) -> float:
    """The integer as it stands, never rounded: what is checked must be what is claimed; NaN for any other."""
    if found.bit_length() > 1024:
        return math.nan
    try:
        value = float(found)
    except OverflowError:
        return math.nan
    return value if value == found else math.nan


def numbers(found: Any, name: str, least: float = -math.inf) -> list[float]:
    """A list of them."""
    return [number(one, f"{name}[{i}]", least) for i, one in enumerate(entries(found, name))]


def shown(found: Any) -> str:
    """The beginning of a value, in ASCII."""
    if isinstance(found, int) and found.bit_length() > 64:
        return "a huge integer"
    plain = isinstance(found, str | int | float)
    return f"{type(found).__name__} {ascii(found)[:60]}" if plain else type(found).__name__
