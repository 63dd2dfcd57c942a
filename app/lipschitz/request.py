"""The analysis request, checked: the contract's JSON fields as typed records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.contract.methods import AUTO, METHODS, MethodInfo, method_named
from app.contract.options import Options
from app.lipschitz.errors import InvalidRequest

NORMS = ("1", "2", "inf")


@dataclass(frozen=True)
class Request:
    """What is asked of one model; `options` holds every chosen method's options, defaults filled in."""

    methods: tuple[str, ...]
    is_auto: bool = False
    norm: str = "2"
    inputs: dict[str, list[int]] | list[list[int]] | None = None
    input: str | None = None
    output: str | None = None
    domain: dict[str, Any] = field(default_factory=lambda: {"kind": "all"})
    target: dict[str, Any] = field(default_factory=lambda: {"kind": "all"})
    options: dict[str, Options] = field(default_factory=dict)
    certify: bool = False
    gate: dict[str, float] = field(default_factory=dict)
    budget_s: float = 60.0
    seed: int = 0

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> Request:
        """Check a request's fields; those that concern the service only (priority, ...) are passed over."""
        methods = _methods(fields.get("methods") or "auto")
        given = {
            key: fields[key]
            for key in ("inputs", "input", "output", "domain", "target", "certify", "gate", "budget_s", "seed")
            if fields.get(key) is not None
        }
        if (given.get("gate") or {}).get("min_certified_share") is not None:
            given["certify"] = True
        norm = str(fields.get("norm") or "2")
        if norm not in NORMS:
            raise InvalidRequest(f"norm {norm!r} is not one of {', '.join(NORMS)}")
        options = fields.get("options") or {}
        for name in options:
            _known(name)
        chosen = {name: _checked(_known(name), options.get(name, {})) for name in methods}
        is_auto = (fields.get("methods") or "auto") in ("auto", ["auto"])
        return cls(methods, is_auto, norm, options=chosen, **given)


def _methods(asked: str | list[str]) -> tuple[str, ...]:
    if asked in ("auto", ["auto"]):
        return AUTO
    names = [asked] if isinstance(asked, str) else asked
    return tuple(_known(name).name for name in dict.fromkeys(names))


def _known(name: str) -> MethodInfo:
    found = method_named(name)
    if found is None:
        raise InvalidRequest(f"unknown method {name!r}: known are {', '.join(m.name for m in METHODS)}")
    return found


def _checked(method: MethodInfo, given: dict[str, Any]) -> Options:
    try:
        return method.checked(given)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
