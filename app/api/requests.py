"""What a job request may say, and its canonical form."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import TypeAliasType

from app.api import problems
from app.lipschitz.catalog import METHODS, MethodInfo, method_named
from app.lipschitz.errors import InvalidRequest
from app.lipschitz.request import checked_options
from app.store.keys import DEFAULT_PRIORITY, MAX_PRIORITY

DIGEST = "[0-9a-f]{64}"
MAX_REQUEST_BYTES = 8 * 2**20
MAX_METADATA_BYTES = 16 * 2**10
NOT_ASKED = {"model", "timeout_s", "queue_timeout_s", "priority", "metadata", "webhook_url"}
"""Fields that the answer does not depend on, and the model, which is named beside them."""
NAMES = tuple(method.name for method in METHODS)

Shape = Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Field(max_length=16)]
Shapes = dict[str, Shape] | list[Shape]
SHAPES = "Input shapes by name or by position, where the file leaves them open."
Numbers = TypeAliasType("Numbers", "float | list[Numbers]")
"""A number, or an array of numbers as nested lists."""
Digest = Annotated[str, Field(pattern=f"^{DIGEST}$")]
RowName = Annotated[str, Field(pattern=f"^(dataset|{DIGEST})#(0|[1-9][0-9]{{0,11}})$")]


class Strict(BaseModel):
    """Unknown fields, NaN and Infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class All(Strict):
    """The whole space, or every output."""

    kind: Literal["all"] = "all"


class Box(Strict):
    """Every coordinate between its limits: numbers, or arrays of the input's shape."""

    kind: Literal["box"]
    lower: Numbers
    upper: Numbers


class Ball(Strict):
    """All points within a radius of a centre, in the request's norm."""

    kind: Literal["ball"]
    center: list[Numbers] | RowName = Field(
        description="Numbers, or a row of a data set: its id or the word `dataset`, `#`, and the row's number from 0."
    )
    radius: float = Field(gt=0)


class Logit(Strict):
    """One output coordinate."""

    kind: Literal["logit"]
    index: int = Field(ge=0)


class Margin(Strict):
    """The difference of two output coordinates."""

    kind: Literal["margin"]
    i: int = Field(ge=0)
    j: int = Field(ge=0)

    @model_validator(mode="after")
    def _of_two(self) -> Self:
        if self.i == self.j:
            raise ValueError("a margin needs two different outputs")
        return self


class Margins(Strict):
    """Every difference of two output coordinates, for 2 to 100 of them; the upper bound is the largest of theirs."""

    kind: Literal["margins"]


class Gate(Strict):
    """The limits that the verdict is about: pass when all are kept, fail when one is broken."""

    max_upper: float | None = Field(
        default=None, gt=0, description="Pass when the certified upper bound is within this limit."
    )
    max_ratio: float | None = Field(
        default=None,
        ge=1,
        description="Pass when the upper bound is at most this multiple of the lower; inconclusive otherwise.",
    )
    min_certified_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Pass when this share of the data set's rows is rightly predicted and certified up to `radius`.",
    )
    radius: float | None = Field(default=None, gt=0, description="The radius that `min_certified_share` asks for.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.min_certified_share is None) != (self.radius is None):
            raise ValueError("min_certified_share and radius belong together")
        if self.max_upper is None and self.max_ratio is None and self.min_certified_share is None:
            raise ValueError("a gate needs a limit: max_upper, max_ratio or min_certified_share")
        return self


Domain = Annotated[All | Box | Ball, Field(discriminator="kind")]
Target = Annotated[All | Logit | Margin | Margins, Field(discriminator="kind")]


class AnalysisFields(Strict):
    """Everything that an analysis may be asked for; all fields have defaults."""

    methods: Literal["auto"] | Annotated[list[str], Field(min_length=1)] = Field(
        default="auto", description=f"Methods to run: `auto`, or a list of {', '.join(NAMES)}."
    )
    inputs: Shapes | None = Field(default=None, description=SHAPES)
    input: str | None = Field(
        default=None, description="The input that varies, the others held at zero; null: all of them, end to end."
    )
    output: str | None = Field(default=None, description="The output that is bounded; null: all of them, end to end.")
    norm: Literal["1", "2", "inf"] = Field(default="2", description="The norm of both spaces.")
    domain: Domain = Field(default_factory=All, description="Where the constant is asked for.")
    target: Target = Field(default_factory=All, description="Which output coordinates count.")
    options: dict[str, dict[str, Any]] = Field(default={}, description="Options by method; see `GET /v1/methods`.")
    dataset: Digest | None = Field(default=None, description="SHA-256 of an uploaded data set.")
    certify: bool = Field(
        default=False,
        description="Whether a radius of unchanged prediction is wanted for every row of the data set: in the "
        "request's norm, within the request's domain. A gate with `min_certified_share` asks for them too.",
    )
    gate: Gate | None = Field(default=None, description="A limit that turns the bracket into a verdict.")
    budget_s: float = Field(default=60.0, gt=0, description="Time that the methods share, in seconds.")
    timeout_s: float | None = Field(default=None, gt=0, description="Hard time limit, in seconds; null: the service's.")
    queue_timeout_s: float | None = Field(
        default=None, gt=0, description="Longest wait in the queue, in seconds; null: the service's."
    )
    priority: int = Field(
        default=DEFAULT_PRIORITY,
        ge=0,
        le=MAX_PRIORITY,
        description="Jobs of a higher priority start first; 403 above what the key allows, 5 unless it was given more.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything random.")
    webhook_url: str | None = Field(
        default=None, description="Where the job's end is told, by Standard Webhooks; http or https, a public address."
    )
    metadata: dict[str, Any] = Field(default={}, description="Yours; kept with the job and not looked at.")

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: str | list[str]) -> str | list[str]:
        if methods in ("auto", ["auto"]):
            return "auto"
        unknown = [name for name in methods if name not in NAMES]
        if unknown:
            raise ValueError(f"unknown method {unknown[0]!r}; there are {', '.join(NAMES)}, and 'auto' alone")
        return list(dict.fromkeys(methods))

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, given in options.items():
            method = method_named(name)
            if method is None:
                raise ValueError(f"options for the unknown method {name!r}")
            _check_options(method, given)
        return options

    @field_validator("metadata")
    @classmethod
    def _small_metadata(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(metadata, allow_nan=False)) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata may take {MAX_METADATA_BYTES} bytes as JSON")
        return metadata

    @model_validator(mode="after")
    def _one_dataset(self) -> Self:
        named = self._center_name
        if named == "dataset" and self.dataset is None:
            raise ValueError("domain.center names a row of `dataset`, which is not given")
        if named not in (None, "dataset", self.dataset or named):
            raise ValueError("domain.center names another data set than `dataset`")
        return self

    @property
    def _center_name(self) -> str | None:
        """The data set that the domain's centre is a row of."""
        center = self.domain.center if isinstance(self.domain, Ball) else None
        return center.partition("#")[0] if isinstance(center, str) else None

    def canonical(self) -> dict[str, Any]:
        """What the answer depends on, defaults filled in: the request that the library gets."""
        fields = self.model_dump(mode="json", exclude=NOT_ASKED)
        if self._center_name is not None:
            fields["dataset"] = self.dataset or self._center_name
            row = fields["domain"]["center"].partition("#")[2]
            fields["domain"]["center"] = f"{fields['dataset']}#{row}"
        return fields


class GraphRequest(Strict):
    """What a model's graph may be asked for with."""

    inputs: Shapes | None = Field(default=None, description=SHAPES)


class JobRequest(AnalysisFields):
    """The body of `POST /v1/jobs`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "methods": ["autolip", "gradient"],
                    "norm": "2",
                    "gate": {"max_upper": 100.0},
                    "budget_s": 60,
                }
            ]
        }
    )

    model: Digest = Field(description="SHA-256 of an uploaded model.")


def _check_options(method: MethodInfo, given: dict[str, Any]) -> None:
    try:
        checked_options(method, given)
    except InvalidRequest as error:
        raise ValueError(error.detail) from error


Fields = TypeVar("Fields", bound=Strict)


def parse_fields(kind: type[Fields], data: Any, *, is_text: bool = False) -> Fields:
    """The request in a JSON value, or in text for every plain field; InvalidRequest points at what is wrong."""
    try:
        return kind.model_validate(data, strict=not is_text)
    except ValidationError as error:
        raise problems.invalid(error.errors(include_url=False, include_input=False), data) from error
