"""Text and numbers for people. Names come from uploaded files, so nothing of them is trusted."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

DIGITS = 6
SMALLEST, LARGEST = 1e-3, 1e7
"""Outside of these a number is written with an exponent."""
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Controls, directions, halves of pairs: they are not XML, or make text look like other text."""
REPLACEMENT = "\ufffd"
ELLIPSIS = "…"
NONE = "–"


def plain(value: object) -> str:
    """The text without characters that cannot be seen."""
    return "".join(REPLACEMENT if unicodedata.category(c) in HIDDEN else c for c in str(value))


def shortened(value: object, length: int) -> str:
    """The plain text, its middle left out where it is longer than `length` characters."""
    text = plain(value)
    if len(text) <= length:
        return text
    tail = length // 3
    return text[: length - tail - 1] + ELLIPSIS + text[-tail:]


def number(value: float | None, digits: int = DIGITS) -> str:
    """A number to so many significant digits, rounded to nearest."""
    return _rounded(value, digits, ROUND_HALF_EVEN)


def upper(value: float | None, digits: int = DIGITS) -> str:
    """An upper bound: rounded up, so that what is shown is still one."""
    return _rounded(value, digits, ROUND_CEILING)


def lower(value: float | None, digits: int = DIGITS) -> str:
    """A lower bound: rounded down."""
    return _rounded(value, digits, ROUND_FLOOR)


def bound(kind: str, value: float | None, digits: int = DIGITS) -> str:
    """A number of that kind of method, rounded to the safe side."""
    return {"upper": upper, "lower": lower}.get(kind, number)(value, digits)


def percent(share: float | None) -> str:
    """A share of one, in per cent."""
    return NONE if share is None else f"{100 * share:.1f} %".replace("-", "−")


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    if value < 0.1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value / 60:.3g} min"


def count(value: int | None) -> str:
    """A whole number in groups of three digits."""
    return NONE if value is None else f"{value:,}".replace(",", "\u202f")


def size(n_bytes: int | None) -> str:
    if n_bytes is None:
        return NONE
    amount, units = float(n_bytes), ["bytes", "KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.4g} {units[0]}"


def shape(sizes: Sequence[int]) -> str:
    """A tensor's shape; `?` stands for a size that is open."""
    return " × ".join("?" if n < 0 else str(n) for n in sizes) or "scalar"


def moment(time: datetime | None) -> str:
    return NONE if time is None else time.strftime("%Y-%m-%d %H:%M:%S UTC")


def _rounded(value: float | None, digits: int, rounding: str) -> str:
    if value is None:
        return NONE
    exact = Context(prec=digits, rounding=rounding).create_decimal(Decimal(value))
    if exact == 0 or SMALLEST <= abs(exact) < LARGEST:
        text = f"{exact:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, power = f"{exact:e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"
