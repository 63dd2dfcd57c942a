"""What the service says of itself: its health, its methods and operators, its workers."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .domain import Document
from .methods import Guarantee, Kind
from .options import JsonType, Value


class Health(BaseModel):
    """A sign of life."""

    status: str = Field(description="`ok`.")


class Readiness(BaseModel):
    """What the service needs, each `ok` or what is wrong."""

    status: str = Field(description="`ready`.")
    checks: dict[str, str] = Field(description="By name: `ok`, or what is wrong.")


class Version(BaseModel):
    """The service's version and those of what it computes with."""

    version: str = Field(description="Lipserve's.")
    components: dict[str, str] = Field(description="Those of the libraries behind it, by name.")


class OptionView(BaseModel):
    """One option of a method."""

    type: JsonType = Field(description="JSON type of its value.")
    default: Value = Field(description="What holds where it is not given.")
    description: str = Field(description="What it does.")
    minimum: float | None = Field(description="Least value, included; null without one.")
    maximum: float | None = Field(description="Largest value, included; null without one.")
    choices: list[str] = Field(description="The values that a text may have.")


class MethodView(BaseModel):
    """One method."""

    name: str = Field(description="As in a request's `methods`.")
    kind: Kind = Field(description="What it bounds.")
    guarantee: Guarantee = Field(description="What its number is worth; an estimate is no bound.")
    description: str = Field(description="What it does.")
    source: str = Field(description="Where it is from.")
    norms: list[str] = Field(description="The norms that it serves.")
    domains: list[str] = Field(description="The kinds of domain that it serves.")
    options: dict[str, OptionView] = Field(description="By name.")
    needs: str = Field(description="What a network or request must have; empty without such a need.")


class Methods(BaseModel):
    """Every method."""

    methods: list[MethodView] = Field(description="From upper bounds to lower bounds.")
    auto: list[str] = Field(description="What `auto` runs as far as it is worth while, cheapest first.")


class OperatorView(BaseModel):
    """One operator of captured graphs."""

    operator: str = Field(description="An ATen operator.")
    rule: str = Field(description="The rule that it follows.")
    constant: str = Field(description="Its Lipschitz constant, or how that is found.")
    source: str = Field(description="Where the rule is from; empty where it is plain.")


class Operators(BaseModel):
    """Every graph operator with a rule."""

    operators: list[OperatorView] = Field(description="By rule.")


class SlotView(BaseModel):
    """One worker: a place where one job at a time is worked on."""

    name: str = Field(description="Host and number.")
    kinds: list[str] = Field(description="What it works on: analyze, inspect, graph.")
    device: str = Field(description="cpu or cuda.")
    state: str = Field(description="starting, idle, busy, ...")
    job: str | None = Field(description="Its job, where the caller may know of it.")
    pid: int | None = Field(description="Its process, on its host.")
    confinement: str = Field(description="full, partial or none (docs/confinement.md).")
    details: Document = Field(description="What confines it, measure by measure.")


class Workers(BaseModel):
    """Every worker."""

    workers: list[SlotView] = Field(description="Those of every host that are not silent.")
