"""The analysis request, checked: the contract's JSON fields as typed records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.lipschitz.catalog import AUTO, METHODS, MethodInfo, OptionInfo, method_named
from app.lipschitz.errors import InvalidRequest

NORMS = ("1", "2", "inf")
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


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
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
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
        chosen = {name: checked_options(_known(name), options.get(name, {})) for name in methods}
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


def checked_options(method: MethodInfo, given: dict[str, Any]) -> dict[str, Any]:
    """A method's options with defaults; InvalidRequest names an unknown option or a value out of range."""
    unknown = sorted(set(given) - set(method.options))
    if unknown:
        known = ", ".join(sorted(method.options)) or "none"
        raise InvalidRequest(f"{method.name} has no option {unknown[0]!r}: its options are {known}")
    for key, value in given.items():
        _check(method.name, key, value, method.options[key])
    return {key: given.get(key, option.default) for key, option in method.options.items()}


def _check(method: str, key: str, value: Any, option: OptionInfo) -> None:
    if not _has_type(value, option):
        raise InvalidRequest(f"{method}.{key} must be of type {option.type}, not {value!r}")
    if option.choices and value not in option.choices:
        raise InvalidRequest(f"{method}.{key} must be one of {', '.join(option.choices)}, not {value!r}")
    below = option.minimum is not None and value < option.minimum
    above = option.maximum is not None and value > option.maximum
    if below or above:
        raise InvalidRequest(f"{method}.{key} = {value!r} is outside [{option.minimum}, {option.maximum}]")


def _has_type(value: Any, option: OptionInfo) -> bool:
    accepted = JSON_TYPES[option.type]
    return isinstance(value, accepted) and (bool in accepted or not isinstance(value, bool))
