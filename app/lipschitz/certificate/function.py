"""Which function of the model a certificate speaks of: every field in its one form, and nothing that is not proved."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...contract.plain import Json
from .fields import (
    MOST_NUMBERS,
    InvalidCertificate,
    choice,
    entries,
    integer,
    number,
    numbers,
    shown,
    text,
    whole,
)

FIELDS = ("inputs", "input", "output", "norm", "domain", "target")
SCALES = ("input_scale", "output_scale")
"""Units, where they are not the file's: u -> f(s u) / t is the function."""
MOST_AXES = 16
NORMS = ("1", "2", "inf")
TARGETS: dict[str, tuple[str, ...]] = {"all": (), "logit": ("index",), "margin": ("i", "j")}
"""What can be proved, with its numbers. `margins` is no function but many, and no certificate proves all of them."""


def function(given: Any) -> Json:
    """The request's fields that select the function; InvalidCertificate for any other than the provable ones."""
    scales = [name for name in SCALES if isinstance(given, dict) and name in given]
    given = whole(given, "function", (*FIELDS, *scales))
    return {name: _positive(given[name], f"function.{name}") for name in scales} | {
        "inputs": _shapes(given["inputs"]),
        "input": _name(given["input"], "function.input"),
        "output": _name(given["output"], "function.output"),
        "norm": norm(given["norm"]),
        "domain": _domain(given["domain"]),
        "target": _target(given["target"]),
    }


def norm(given: Any) -> str | dict[str, str]:
    """One for both spaces, or two that differ."""
    if not isinstance(given, dict):
        return choice(given, NORMS, "function.norm")
    both = norms(given, "function.norm")
    if both["input"] == both["output"]:
        raise InvalidCertificate("function.norm names one norm twice")
    return both


def norms(given: Any, name: str) -> dict[str, str]:
    """One for each space."""
    given = whole(given, name, ("input", "output"))
    return {space: choice(given[space], NORMS, f"{name}.{space}") for space in ("input", "output")}


def _positive(given: Any, name: str) -> float | list[float]:
    """One number for all coordinates, or a list."""
    scale = numbers(given, name) if isinstance(given, list) else number(given, name)
    if not all(one > 0.0 for one in (scale if isinstance(scale, list) else [scale])):
        raise InvalidCertificate(f"{name} must be positive")
    return scale


def _name(given: Any, name: str) -> str | None:
    return None if given is None else text(given, name)


def _shapes(given: Any) -> dict[str, list[int]] | list[list[int]] | None:
    """By name or by position; sizes that a machine can hold."""
    if given is None:
        return None
    if isinstance(given, dict):
        return {text(name, "function.inputs"): _shape(shape) for name, shape in given.items()}
    return [_shape(shape) for shape in entries(given, "function.inputs", 1000)]


def _shape(given: Any) -> list[int]:
    sides = [integer(side, "function.inputs[]") for side in entries(given, "function.inputs[]", MOST_AXES)]
    if math.prod(max(side, 1) for side in sides) > MOST_NUMBERS:
        raise InvalidCertificate(f"function.inputs: an input of shape {sides} is too large")
    return sides


def _kind(given: Any, name: str, known: tuple[str, ...]) -> str:
    kind = given.get("kind") if isinstance(given, dict) else None
    if kind == "margins":
        raise InvalidCertificate(
            "no certificate proves all margins at once: one for all outputs bounds each margin by its bound times "
            "the norm of e_i - e_j, and one for a single margin says more"
        )
    return choice(kind, known, f"{name}.kind")


def _target(given: Any) -> Json:
    kind = _kind(given, "function.target", tuple(TARGETS))
    given = whole(given, "function.target", ("kind", *TARGETS[kind]))
    return {"kind": kind} | {key: integer(given[key], f"function.target.{key}") for key in TARGETS[kind]}


def _domain(given: Any) -> Json:
    kind = _kind(given, "function.domain", tuple(DOMAINS))
    given = whole(given, "function.domain", ("kind", *DOMAINS[kind]))
    return {"kind": kind} | {key: read(given[key], f"function.domain.{key}") for key, read in DOMAINS[kind].items()}


def _vector(given: Any, name: str) -> float | list[float]:
    """One number for all coordinates, or a list."""
    return numbers(given, name) if isinstance(given, list) else number(given, name, -math.inf)


def _radius(given: Any, name: str) -> float:
    value = number(given, name)
    if value == 0.0:
        raise InvalidCertificate(f"{name} must be positive, not {shown(given)}")
    return value


DOMAINS: dict[str, dict[str, Callable[[Any, str], Any]]] = {
    "all": {},
    "box": {"lower": _vector, "upper": _vector},
    "ball": {"center": _vector, "radius": _radius},
}
