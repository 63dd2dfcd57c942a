"""The analysis request, checked: the contract's JSON fields as typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from ..contract.domain import ALL, Document, Domain, Target, TwoNorms
from ..contract.methods import AUTO, METHODS, MethodInfo, method_named
from ..contract.options import Options
from ..contract.question import Gate, Question, Shapes
from .errors import InvalidRequest

NORMS = ("1", "2", "inf")
JACOBIAN = "jacobian"
NOISE = "noise"
"""What `rounding` is where rounding steps count as noise."""
PARTS = ("domain", "target", "gate", "certify", "rounding")
"""Fields that are checked together."""
Scale = float | list[Any] | str
"""Numbers, or the word dataset."""


@dataclass(frozen=True)
class Request:
    """What is asked of one model; `options` holds every chosen method's options, defaults filled in."""

    methods: tuple[str, ...]
    is_auto: bool = False
    norm: str = "2"
    output_norm: str | None = None
    """Where it is not the input's, `norm`."""
    inputs: Shapes | None = None
    input: str | None = None
    output: str | None = None
    domain: Domain = ALL
    target: Target = ALL
    options: Mapping[str, Options] = field(default_factory=dict)
    certify: bool = False
    gate: Gate | None = None
    input_scale: Scale | None = None
    output_scale: Scale | None = None
    input_names: list[str] | None = None
    output_names: list[str] | None = None
    rounding: str = "refuse"
    budget_s: float = 60.0
    seed: int = 0

    @property
    def norms(self) -> str | Document:
        """As the request tells them: one for both spaces, or each."""
        return self.norm if self.output_norm is None else {"input": self.norm, "output": self.output_norm}

    @property
    def needs_jacobian(self) -> bool:
        """Whether bounds of single derivatives are asked for by name or by the gate."""
        by_name = not self.is_auto and JACOBIAN in self.methods
        return by_name or (self.gate is not None and self.gate.asks_for_sensitivities)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Request:
        """Check a request's fields; those that concern the service only (priority, ...) are passed over."""
        methods = _methods(fields.get("methods") or "auto")
        plain = [
            "inputs", "input", "output", "certify", "input_names", "output_names", "input_scale", "output_scale",
            "rounding", "budget_s", "seed",
        ]  # fmt: skip
        given = {key: fields[key] for key in plain if fields.get(key) is not None}
        parts = _parts({key: fields[key] for key in PARTS if fields.get(key) is not None})
        if parts.gate is not None and parts.gate.min_certified_share is not None:
            given["certify"] = True
        if parts.gate is not None and parts.gate.asks_for_sensitivities and JACOBIAN not in methods:
            methods = (*methods, JACOBIAN)
        norm, output_norm = _norms(fields)
        options = fields.get("options") or {}
        for name in options:
            _known(name)
        chosen = {name: _checked(_known(name), options.get(name, {})) for name in methods}
        is_auto = (fields.get("methods") or "auto") in ("auto", ["auto"])
        request = cls(methods, is_auto, norm, output_norm, options=chosen, **given)
        return replace(request, domain=parts.domain, target=parts.target, gate=parts.gate)


def _norms(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """The input's norm, and the output's where that is another."""
    norm = fields.get("norm") or "2"
    if not isinstance(norm, Mapping):
        if str(norm) not in NORMS:
            raise InvalidRequest(f"norm {norm!r} is not one of {', '.join(NORMS)}")
        return str(norm), None
    both = _parts({key: fields[key] for key in ("norm", "certify", "target") if fields.get(key) is not None}).norm
    return (both.input, both.output) if isinstance(both, TwoNorms) else (both, None)


def _parts(fields: Mapping[str, Any]) -> Question:
    """The domain, the target and the gate; InvalidRequest names the member at fault."""
    try:
        return Question.model_validate(fields)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequest("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in faults)) from error


def _methods(asked: str | list[str]) -> tuple[str, ...]:
    if asked in ("auto", ["auto"]):
        return AUTO
    names = [asked] if isinstance(asked, str) else asked
    return tuple(_known(name).name for name in dict.fromkeys(names))


def _known(name: str) -> MethodInfo:
    info = method_named(name)
    if info is None:
        raise InvalidRequest(f"unknown method {name!r}: known are {', '.join(m.name for m in METHODS)}")
    return info


def _checked(method: MethodInfo, given: Document) -> Options:
    try:
        return method.checked(given)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
