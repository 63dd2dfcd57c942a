"""Which function of the model a certificate speaks of: every field in its one form, and nothing that is not proved."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from app.contract.plain import Json
from app.lipschitz.certificate.fields import (
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
TARGETS: dict[str, tuple[str, ...]] = {"all": (), "logit": ("index",), "margin": ("i", "j")}
"""What can be proved, with its numbers. `margins` is no function but many, and no certificate proves all of them."""


def function(found: Any) -> Json:
    """The request's fields that select the function; InvalidCertificate for any other than the provable ones."""
    scales = [name for name in SCALES if isinstance(found, dict) and name in found]
    found = whole(found, "function", (*FIELDS, *scales))
    return {name: _positive(found[name], f"function.{name}") for name in scales} | {
        "inputs": _shapes(found["inputs"]),
        "input": _name(found["input"], "function.input"),
        "output": _name(found["output"], "function.output"),
        "norm": choice(found["norm"], ("1", "2", "inf"), "function.norm"),
        "domain": _domain(found["domain"]),
        "target": _target(found["target"]),
    }


def _positive(found: Any, name: str) -> float | list[float]:
    """One number for all coordinates, or a list."""
    scale = numbers(found, name) if isinstance(found, list) else number(found, name)
    if not all(one > 0.0 for one in (scale if isinstance(scale, list) else [scale])):
        raise InvalidCertificate(f"{name} must be positive")
    return scale


def _name(found: Any, name: str) -> str | None:
    return None if found is None else text(found, name)


def _shapes(found: Any) -> dict[str, list[int]] | list[list[int]] | None:
    """By name or by position; sizes that a machine can hold."""
    if found is None:
        return None
    if isinstance(found, dict):
        return {text(name, "function.inputs"): _shape(shape) for name, shape in found.items()}
    return [_shape(shape) for shape in entries(found, "function.inputs", 1000)]


def _shape(found: Any) -> list[int]:
    sides = [integer(side, "function.inputs[]") for side in entries(found, "function.inputs[]", MOST_AXES)]
    if math.prod(max(side, 1) for side in sides) > MOST_NUMBERS:
        raise InvalidCertificate(f"function.inputs: an input of shape {sides} is too large")
    return sides


def _kind(found: Any, name: str, known: tuple[str, ...]) -> str:
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind == "margins":
        raise InvalidCertificate(
            "no certificate proves all margins at once: one for all outputs bounds each margin by its bound times "
            "the norm of e_i - e_j, and one for a single margin says more"
        )
    return choice(kind, known, f"{name}.kind")


def _target(found: Any) -> Json:
    kind = _kind(found, "function.target", tuple(TARGETS))
    found = whole(found, "function.target", ("kind", *TARGETS[kind]))
    return {"kind": kind} | {key: integer(found[key], f"function.target.{key}") for key in TARGETS[kind]}


def _domain(found: Any) -> Json:
    kind = _kind(found, "function.domain", tuple(DOMAINS))
    found = whole(found, "function.domain", ("kind", *DOMAINS[kind]))
    return {"kind": kind} | {key: read(found[key], f"function.domain.{key}") for key, read in DOMAINS[kind].items()}


def _vector(found: Any, name: str) -> float | list[float]:
    """One number for all coordinates, or a list."""
    return numbers(found, name) if isinstance(found, list) else number(found, name, -math.inf)


def _radius(found: Any, name: str) -> float:
    value = number(found, name)
    if value == 0.0:
        raise InvalidCertificate(f"{name} must be positive, not {shown(found)}")
    return value


DOMAINS: dict[str, dict[str, Callable[[Any, str], Any]]] = {
    "all": {},
    "box": {"lower": _vector, "upper": _vector},
    "ball": {"center": _vector, "radius": _radius},
}
