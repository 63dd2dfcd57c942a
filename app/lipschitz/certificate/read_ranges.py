"""What a certificate says of ranges on a domain, read entry by entry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from .fields import entries, integer, mapping, numbers
from .record import ChoiceRecord, LineRecord, RangeRecord, SlopeRecord

MOST_PIECES = 100_000


def names(record: type[Any]) -> set[str]:
    """Of its fields."""
    return {field.name for field in fields(record)}


def range_(given: Any) -> RangeRecord:
    """One of `ranges`."""
    given = mapping(given, "ranges[]", names(RangeRecord))
    return RangeRecord(
        integer(given.get("node"), "ranges[].node"),
        [integer(one, "ranges[].positions[]") for one in entries(given.get("positions"), "ranges[].positions")],
        numbers(given.get("lower"), "ranges[].lower"),
        numbers(given.get("upper"), "ranges[].upper"),
    )


def choice_(given: Any) -> ChoiceRecord:
    """One of `choices`."""
    given = mapping(given, "choices[]", names(ChoiceRecord))
    slopes = [_slopes(one) for one in entries(given.pop("slopes", None), "choices[].slopes", MOST_PIECES)]
    return ChoiceRecord(**vars(range_(given)), slopes=slopes)


def _slopes(given: Any) -> SlopeRecord:
    given = mapping(given, "slopes[]", names(SlopeRecord))
    return SlopeRecord(
        integer(given.get("node"), "slopes[].node"),
        [integer(one, "slopes[].positions[]") for one in entries(given.get("positions"), "slopes[].positions")],
        numbers(given.get("slopes"), "slopes[].slopes"),
    )


def line_(given: Any) -> LineRecord:
    """One of `lines`."""
    given = mapping(given, "lines[]", names(LineRecord))
    return LineRecord(
        integer(given.get("node"), "lines[].node"),
        numbers(given.get("below"), "lines[].below"),
        numbers(given.get("above"), "lines[].above"),
    )
