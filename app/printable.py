"""Text of others, made safe to show: a terminal obeys what it is sent, and a line that holds a line break is two."""

from __future__ import annotations

import json
from typing import Any

DELETE = "\x7f"


def printable(text: object, keep: str = "") -> str:
    """The text with every character that cannot be seen (control, bidirectional, half of a pair) written out, as
    `\\x1b`; those of `keep` stay.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(one if one.isprintable() or one in keep else _written_out(one) for one in plain)


def printable_json(value: Any) -> str:
    """Indented JSON in which nothing but its own line breaks is beyond what can be seen."""
    return json.dumps(value, indent=2).replace(DELETE, "\\u007f")


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
